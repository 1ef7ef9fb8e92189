"""One file per format: a record in, an object or a line out. `registry` has their names. Pure."""
