"""One file per format: a record's canonical JSON in, bytes out; and what a receiver's answer means. Pure."""
