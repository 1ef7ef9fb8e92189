"""The commands of zonebridge, one file each, and the options that several of them have."""
