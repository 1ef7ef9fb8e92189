"""Who may do what, from roles and bindings. Pure."""
