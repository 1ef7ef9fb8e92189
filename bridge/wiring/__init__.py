"""From settings to the parts of the bridge: clusters, infrastructure, registration, SIEM, evidence."""
