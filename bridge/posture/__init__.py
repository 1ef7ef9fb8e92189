"""Posture: a cluster's configuration against checks. Pure but for `gather` and `follow`, which read the API server."""
