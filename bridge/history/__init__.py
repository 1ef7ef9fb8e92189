"""Every published revision as an object, chained by digests: written, kept, read, compared and verified."""
