"""One file per transport: a batch of records in, what became of it out. `enforcer.shipping.ship` makes them."""
