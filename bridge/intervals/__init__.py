"""What was the case from when to when: zone membership, enforcement, alerts, settings; and how it is recorded."""
