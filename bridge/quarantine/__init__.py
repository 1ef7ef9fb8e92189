"""Quarantines that are asked for: by people, by a SOAR, by a tag in Panorama. Enforcers read the objects themselves."""
