"""A little predefined content: well-known App-IDs with the ports they are known by, for when there is no other.

A configuration or file that holds /config/predefined goes first. Numbers are IANA's or the software's own default.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

PORTS = {
    "active-directory-base": "tcp/88,389,445",
    "bgp": "tcp/179",
    "dns-base": "tcp/53 udp/53",
    "dns": "tcp/53 udp/53",
    "elasticsearch-base": "tcp/9200,9300",
    "ftp": "tcp/21",
    "imap": "tcp/143,993",
    "kafka": "tcp/9092",
    "kerberos": "tcp/88 udp/88",
    "ldap": "tcp/389,3268,3269,636 udp/389",
    "mongodb-base": "tcp/27017",
    "mongodb": "tcp/27017",
    "ms-rdp": "tcp/3389 udp/3389",
    "mssql-db": "tcp/1433 udp/1434",
    "mysql": "tcp/3306",
    "nfs": "tcp/2049 udp/2049",
    "ntp-base": "udp/123",
    "ntp": "udp/123",
    "oracle": "tcp/1521",
    "postgres": "tcp/5432",
    "redis": "tcp/6379",
    "rtp": "udp/dynamic",
    "smtp": "tcp/25,587",
    "snmp": "udp/161,162",
    "ssh": "tcp/22",
    "ssl": "tcp/443",
    "syslog": "tcp/514 udp/514",
    "web-browsing": "tcp/80",
}
ICMP = {"ping": ("ident-by-icmp-type", "8"), "ping6": ("ident-by-icmp6-type", "128")}
IP_PROTOCOLS = {"gre": "47", "ipsec-esp": "50", "icmp": "1", "ipv6-icmp": "58"}


def predefined() -> Element:
    """A <predefined> with these applications and the two services every firewall knows."""
    top = Element("predefined")
    applications = SubElement(top, "application")
    for name, ports in PORTS.items():
        port = SubElement(default_of(applications, name), "port")
        for member in ports.split():
            SubElement(port, "member").text = member
    for name, (tag, kind) in ICMP.items():
        SubElement(SubElement(default_of(applications, name), tag), "type").text = kind
    for name, protocol in IP_PROTOCOLS.items():
        SubElement(default_of(applications, name), "ident-by-ip-protocol").text = protocol
    services = SubElement(top, "service")
    for name, port_text in (("service-http", "80,8080"), ("service-https", "443")):
        entry = SubElement(services, "entry", {"name": name})
        SubElement(SubElement(SubElement(entry, "protocol"), "tcp"), "port").text = port_text
    return top


def default_of(applications: Element, name: str) -> Element:
    return SubElement(SubElement(applications, "entry", {"name": name}), "default")
