"""The settings file of the bridge: its models, how it is read, and secrets."""
