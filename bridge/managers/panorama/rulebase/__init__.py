"""A Panorama configuration as a rulebase: device groups, rules, and reading again only what changed."""
