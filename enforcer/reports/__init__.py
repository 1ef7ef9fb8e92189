"""From what the kernel logged to records: flows, ends of connections, alerts, and exactly what was lost."""
