"""What the API server knows, folded into one view, and what it is told: the door to Kubernetes, and Events on pods."""
