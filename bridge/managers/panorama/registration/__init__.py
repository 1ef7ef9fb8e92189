"""A cluster's registration in Panorama: its device group, its pods' addresses and their tags."""
