"""Which address is in which set of the table, and what of that changed."""
