"""The SIEM, for both programs: records and alerts, formats, protocols, transports, and the door to them in `sender`."""
