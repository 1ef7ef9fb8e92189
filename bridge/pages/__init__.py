"""Reports as self-contained HTML pages: what a page is made of, and how it is written."""

from bridge.pages.compile_page import compile_page
from bridge.pages.html import page_html
from bridge.pages.preview_page import preview_page

__all__ = ["compile_page", "page_html", "preview_page"]
