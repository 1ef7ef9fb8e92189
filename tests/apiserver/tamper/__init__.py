"""What a developer, an owner of a namespace, an operator, a node or a stolen token may try against the tier."""
