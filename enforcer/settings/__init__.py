"""The settings file of the enforcer: its models, and how it is read."""
