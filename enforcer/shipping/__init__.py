"""From records to the SIEM: the spool on disk, and one delivery for each destination."""
