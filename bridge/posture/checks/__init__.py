"""The checks, a file for each thing that they are about. Pure; each judges what a `PostureView` shows it."""
