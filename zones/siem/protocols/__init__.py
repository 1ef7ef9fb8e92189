"""How receivers are spoken to: what goes out as octets, and what their answers mean. Pure; transports send."""
