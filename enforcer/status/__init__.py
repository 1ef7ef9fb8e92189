"""What this node is doing and what is wrong on it: problems, metrics, NodeState, health."""
