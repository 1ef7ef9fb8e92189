"""What of a node's connections is worth a look: scans, probes, contacts, volumes, beacons, known bad addresses."""
