"""Panorama's objects: addresses, services, applications, schedules, lists, tags."""
