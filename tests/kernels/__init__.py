"""The kernel tests under another kernel, by hand: see docs/support.md."""
