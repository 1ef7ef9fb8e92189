"""First match over many clauses as a tree of lookups."""
