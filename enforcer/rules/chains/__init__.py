"""The table's chains, from the hooks to the verdicts."""
