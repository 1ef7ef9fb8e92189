"""From a policy to a table as a value: chains, sets and maps, and which of them an address is in. Pure."""
