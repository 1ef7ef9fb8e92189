"""What was last in force on this node: saved, and loaded again after a restart."""
