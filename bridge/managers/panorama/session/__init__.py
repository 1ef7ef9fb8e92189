"""The session with Panorama's XML API: commands, transport, and waiting changes."""
