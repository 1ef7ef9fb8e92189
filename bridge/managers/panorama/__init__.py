"""Panorama: what its configuration means for a device group, from a file or from its API."""

from bridge.managers.panorama.manager import PanoramaManager
from bridge.managers.panorama.rulebase.rulebase import ReadOptions, read_file
from bridge.managers.panorama.session.api import PanoramaAccess, PanoramaApi

__all__ = ["PanoramaAccess", "PanoramaApi", "PanoramaManager", "ReadOptions", "read_file"]
