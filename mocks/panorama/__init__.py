"""A Panorama in small: its XML API over HTTPS, from an exported configuration. It knows no product that talks to it.

`Panorama` is the appliance that tests edit, `PanoramaServer` its wire, `serve` the command of `python -m mocks`.
"""

from mocks.panorama.access import Call
from mocks.panorama.appliance import Panorama
from mocks.panorama.server import PanoramaServer, make_app, serve
from mocks.panorama.tree import ConfigError

__all__ = ["Call", "ConfigError", "Panorama", "PanoramaServer", "make_app", "serve"]
