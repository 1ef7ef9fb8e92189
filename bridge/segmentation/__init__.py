"""Measured segmentation: which connections between zones come about, beside what the policy says of them."""
