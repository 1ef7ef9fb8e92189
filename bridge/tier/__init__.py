"""A cluster's tier: planned, published, watched, repaired, and told in its status."""
