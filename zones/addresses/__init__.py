"""Who has an address: pods, nodes and pod networks."""
