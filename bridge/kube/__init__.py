"""Requests to an API server, and following one kind of object there."""
