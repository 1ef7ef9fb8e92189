"""Default ports of the commonest App-IDs, for configurations without predefined content. The registered ports."""

from __future__ import annotations

SEED_PORTS: dict[str, tuple[str, ...]] = {
    "bgp": ("tcp/179",),
    "dhcp": ("udp/67,68",),
    "dns": ("tcp/53", "udp/53"),
    "dns-base": ("tcp/53", "udp/53"),
    "ftp": ("tcp/21",),
    "icmp": ("icmp",),
    "imap": ("tcp/143",),
    "kerberos": ("tcp/88", "udp/88"),
    "ldap": ("tcp/389", "udp/389"),
    "mongodb": ("tcp/27017",),
    "ms-rdp": ("tcp/3389",),
    "mssql-db": ("tcp/1433",),
    "mysql": ("tcp/3306",),
    "ntp": ("udp/123",),
    "oracle": ("tcp/1521",),
    "ping": ("icmp",),
    "ping6": ("icmp6",),
    "pop3": ("tcp/110",),
    "postgres": ("tcp/5432",),
    "redis": ("tcp/6379",),
    "smtp": ("tcp/25",),
    "snmp": ("udp/161",),
    "ssh": ("tcp/22",),
    "ssl": ("tcp/443",),
    "syslog": ("tcp/514", "udp/514"),
    "telnet": ("tcp/23",),
    "web-browsing": ("tcp/80",),
}
