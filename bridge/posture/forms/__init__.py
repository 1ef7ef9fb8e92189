"""A posture report in the forms that others read. Pure."""
