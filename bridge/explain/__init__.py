"""Which rule decides a connection, why each rule before it didn't, and what an application team can do."""
