"""What was in force, who was where and what was enforced, at an instant or over a range, for who has to prove it."""
