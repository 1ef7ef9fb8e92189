"""One file per form in which a policy stands in a cluster."""
