"""The language of zonebridge: values and pure functions. No I/O, no clock, no logging."""
