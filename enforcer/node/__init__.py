"""Facts about this node: its kernel, bridges, links, and other data planes on it."""
