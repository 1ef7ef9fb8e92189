"""The names and literals that configurations and flows are drawn from: few, so that they meet."""

ZONES = ("web", "app", "data", "Web", "corp", "default")
UNKNOWN_ZONES = ("lab", "untrust")
ADDRESS_NAMES = ("n1", "n2", "n3", "n4", "n5", "n6", "10.1.2.3", "10.1.0.0/16", "any-host", "N1")
SERVICE_NAMES = ("s1", "s2", "s3", "s4", "service-http")
APPLICATION_NAMES = ("cart", "Order_API", "order api", "web-base", "rpc", "chat", "a1", "a2")
SHIPPED = ("web-base", "rpc", "rpc-mixed", "echo6", "gre-tunnel", "no-port", "mail", "unknown-tcp")
FLAGS = ("evasive", "used-by-malware", "is-saas")
SCHEDULES = ("c1", "c2", "c3")
TAGS = ("prod", "two words", "k8s", "and-more")
PREFIXES = (
    "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "10.1.2.3/32", "10.1.2.77/24", "10.128.0.0/9",
    "0.0.0.0/0", "192.0.2.0/25", "192.0.2.128/25", "192.0.2.130", "255.255.255.255", "0.0.0.0/32",
    "fd00::/8", "fd00:1::/32", "fd00:1::5", "fd00:1::5/64", "::/0", "2001:db8::1", "ffff::/16", "::ffff:10.1.2.3",
    "::/96", "::a01:0/112", "::a01:203", "::/64",
)  # fmt: skip
RANGES = (
    "10.1.2.0-10.1.2.9", "10.1.2.3-10.1.2.3", "10.0.255.255-10.1.0.0", "192.0.2.100-192.0.2.200",
    "0.0.0.0-255.255.255.255", "fd00:1::4-fd00:1::6", "10.255.255.255-11.0.0.0", "::a01:200-::a01:209",
    "::c000:280-::1:0:0",
)  # fmt: skip
WILDCARDS = ("10.0.2.0/0.255.0.255", "10.1.2.3/0.0.0.0", "192.0.2.1/0.0.0.254", "10.1.0.3/0.0.6.0")
BAD_ADDRESSES = ("10.1.2.300", "10.1.2.0/33", "10.1.2.9-10.1.2.1", "10.1.2.1-fd00::1", "nonsense")
PORTS = ("80", "443", "80,443", "8000-8010", "22,80-81,8010-8020", "0-65535", "65535", "0", "79-80, 90")
BAD_WILDCARDS = ("10.0.0.1/0.255.255.254",)
BAD_HOURS = ("25:00-26:00", "08:00", "noon-13:00", "08:00-17:00-18:00")
BAD_PORTS = ("http", "90-80", "70000", "", "1-2-3")
WORKLOADS = ("", "cart", "Cart", "order-api", "Order_API", "order api", "web-base", "chat", "rpc", "mail")
NAMESPACES = ("shop", "bank", "")
NAMESPACE_TAGS = ("k8s-namespace:shop", "K8s-Namespace-bank", "k8s-namespace: Shop ", "k8s-namespace:ba nk")
FILTERS = (
    "'prod'", "prod and k8s", "prod AND 'two words' or k8s", "'two words' or prod and k8s", "(prod or k8s) and 'two words'",
    "((prod))", "'and-more' Or k8s", "and-more", "'absent'", "prod\n and\tk8s",
)  # fmt: skip
BAD_FILTERS = ("", "not prod", "prod k8s", "(prod", "prod)", "prod and", "or", "prod or or k8s", "'prod")
HOURS = ("08:00-17:00", "22:00-05:30", "00:00-23:59", "12:00-12:01", "23:59-00:00", "00:00-24:00")
DATES = ("2026/03/28@22:00-2026/03/29@12:00", "2026/01/01@00:00-2026/12/31@23:59", "2026/10/24@23:15-2026/10/25@06:00")
TIME_ZONES = ("UTC", "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CATEGORIES, RISKS = ("business", "media"), ("1", "3", "5")
DENIES = ("deny", "drop", "reset-client", "reset-server", "reset-both")
CONDITIONS = (
    ("source-user", "corp\\anna"), ("source-user", "known-user"), ("category", "gambling"), ("source-hip", "patched"),
    ("destination-hip", "patched"), ("hip-profiles", "patched"), ("source-imsi", "001"), ("source-weather", "rain"),
    ("saas-user-list", "tenant.example.com"), ("saas-tenant-list", "any"), ("source-weather", "any"),
)  # fmt: skip
