"""Panorama: what its configuration means for a device group, from a file or from its API."""

from bridge.managers.panorama.api import Access, PanoramaApi
from bridge.managers.panorama.manager import PanoramaManager
from bridge.managers.panorama.rulebase import ReadOptions, read_file

__all__ = ["Access", "PanoramaApi", "PanoramaManager", "ReadOptions", "read_file"]
