"""What a configuration would change before it is committed: `compared` says it, the rest puts it into words.

`bridge.preview.model` has the result, and what of it is None or empty; `preview_json` its stable form.
"""

from bridge.preview.comparison import compared
from bridge.preview.counted import counted_effect
from bridge.preview.gate import ALWAYS, FailCondition, FailOn, condition, failures
from bridge.preview.guardrails import violations
from bridge.preview.json_form import preview_json
from bridge.preview.model import Configuration, Preview
from bridge.preview.seen import effect
from bridge.preview.table import preview_lines
from bridge.preview.workloads import moves, projected

__all__ = [
    "ALWAYS",
    "Configuration",
    "FailCondition",
    "FailOn",
    "Preview",
    "compared",
    "condition",
    "counted_effect",
    "effect",
    "failures",
    "moves",
    "preview_json",
    "preview_lines",
    "projected",
    "violations",
]
