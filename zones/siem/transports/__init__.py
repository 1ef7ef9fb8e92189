"""One file per transport: a batch of records in, what became of it out. `zones.siem.sender` makes them."""
