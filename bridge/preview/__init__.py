"""What a configuration would change before it is committed: `compared` says it, the rest puts it into words."""

from bridge.preview.comparison import Preview, compared
from bridge.preview.gate import FailOn, failures
from bridge.preview.text import preview_json, preview_lines

__all__ = ["FailOn", "Preview", "compared", "failures", "preview_json", "preview_lines"]
