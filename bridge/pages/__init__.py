"""Reports as self-contained HTML pages: what a page is made of, and how it is written."""

from bridge.pages.compile_page import compile_page
from bridge.pages.html import page_html
from bridge.pages.policy_page import policy_page
from bridge.pages.posture_page import posture_page
from bridge.pages.preview_page import preview_page
from bridge.pages.quarantine_table import quarantine_table
from bridge.pages.status_page import status_page
from bridge.pages.usage_page import usage_page

__all__ = [
    "compile_page",
    "page_html",
    "policy_page",
    "posture_page",
    "preview_page",
    "quarantine_table",
    "status_page",
    "usage_page",
]
