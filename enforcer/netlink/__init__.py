"""The bytes of netlink and of the packets that it carries, and the sockets they come from. It knows no rule of ours."""
