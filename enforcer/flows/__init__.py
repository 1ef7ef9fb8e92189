"""What the kernel says of connections: logged packets, ends of connections, counts, and what was lost."""
