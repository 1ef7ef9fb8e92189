"""Records of every shape, and any that could be: what the formats are tested with."""

from hypothesis import strategies as st

SOURCE = {
    "address": "10.1.0.10",
    "port": 41022,
    "zone": "web",
    "namespace": "shop",
    "pod": "web-7d4b9c6f5-x2x4z",
    "workload": "web",
    "node": "n1",
    "labels": {"app.kubernetes.io/name": "web", "team": "shop"},
}
DESTINATION = {
    "address": "10.1.0.20",
    "port": 5432,
    "zone": "data",
    "namespace": "db",
    "pod": "postgres-0",
    "workload": "postgres",
    "node": "n2",
}
RULE = {
    "name": "web to data",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "rulebase": "pre",
    "deviceGroup": "k8s-prod",
}


def stamp(sequence, kind):
    return {
        "kind": kind,
        "id": f"{sequence:032x}",
        "time": "2026-11-21T11:22:28.123456Z",
        "cluster": "prod",
        "node": "n1",
        "sequence": 1795260148123456 + sequence,
    }


def flow(sequence=1, **more):
    return (
        stamp(sequence, "flow")
        | {
            "source": SOURCE,
            "destination": DESTINATION,
            "protocol": "tcp",
            "verdict": "deny",
            "enforced": True,
            "direction": "original",
            "rule": RULE,
            "logProfile": "siem",
            "tier": "panorama",
            "revision": 7,
            "end": "2026-11-21T11:22:31.623456Z",
            "moment": "start",
            "packets": 5,
            "bytes": 300,
        }
        | more
    )


def alert(kind, severity, sequence=1, **more):
    return (
        stamp(sequence, "alert")
        | {"alert": kind, "severity": severity, "state": "raised", "message": f"something about {kind}", "count": 1}
        | {"suppressed": 0}
        | more
    )


def denied(**more):
    about = {key: value for key, value in flow().items() if key not in stamp(1, "") and key not in TOTALS}
    return alert("denied-flow", "medium", 20) | about | more


TOTALS = ("end", "moment", "packets", "bytes")
V6 = {"address": "2001:db8::20", "port": 53, "zone": "untrust"}

LISTED = {"address": "203.0.113.9", "port": 443, "zone": "untrust"}
BLOCKING = {"name": "known bad", "uuid": "9b2d63a1-6c1f-4f7e-8f57-2f1d7a4c9e10", "rulebase": "pre"}

CASES = {
    "flow-denied": flow(),
    "flow-to-a-list": flow(5, destination=LISTED, rule=BLOCKING, blocklists={"destinations": ["bad-ips"]}),
    "flow-allowed-at-end": flow(
        2,
        verdict="allow",
        moment="end",
        source=SOURCE | {"natAddress": "192.0.2.7", "natPort": 61022},
        destination=DESTINATION | {"natAddress": "10.96.0.20", "natPort": 5433},
        client={"address": "203.0.113.9", "port": 51000},
        packets=15,
        bytes=2900,
        sent={"packets": 8, "bytes": 900},
        received={"packets": 7, "bytes": 2000},
        reason="tcp-fin",
    ),
    "flow-reset-to-outside-v6": flow(
        3,
        source=SOURCE | {"address": "2001:db8:1::10"},
        destination=V6,
        protocol="udp",
        verdict="reset",
        rule={"name": "interzone-default", "rulebase": "default"},
    ),
    "flow-observed-icmp": flow(
        4,
        source={key: value for key, value in SOURCE.items() if key != "port"},
        destination={"address": "192.0.2.1", "zone": "nodes", "node": "n3"},
        protocol="icmp",
        icmpType=8,
        enforced=False,
        direction="reply",
    ),
    "alert-denied-flow": denied(
        message="shop/web (zone web) to db/postgres (zone data), tcp 5432, denied by rule 'web to data'"
    ),
    "alert-denied-flow-counted": denied(state="counted", count=12, suppressed=12, since="2026-11-21T11:21:28.123456Z"),
    "alert-blocklist-hit": denied(
        alert="blocklist-hit",
        severity="high",
        destination=LISTED,
        rule=BLOCKING,
        blocklists={"destinations": ["bad-ips"]},
        message="shop/web (zone web) to 203.0.113.9 (zone untrust) tcp/443 denied by rule 'known bad', "
        "which blocks 'bad-ips'",
    ),
    "alert-denied-source": alert(
        "denied-flow",
        "medium",
        25,
        state="counted",
        count=9979,
        suppressed=9979,
        since="2026-11-21T11:21:28.123456Z",
        source={"zone": "web", "namespace": "shop", "workload": "web"},
        rule={"name": "interzone-default", "rulebase": "default"},
        verdict="deny",
        enforced=True,
        message="many connections of shop/web (zone web) denied by rule 'interzone-default'",
    ),
    "alert-storm": alert(
        "alert-storm", "high", 26, subject="alerts", state="counted", count=41, suppressed=41, message="too many kinds"
    ),
    "alert-denied-zones": alert(
        "denied-flow",
        "medium",
        21,
        source={"zone": "web"},
        destination={"zone": "data"},
        rule={"name": "interzone-default", "rulebase": "default"},
        verdict="deny",
        enforced=True,
    ),
    "alert-tier-tampered": alert(
        "tier-tampered",
        "critical",
        22,
        message="the tier panorama was set back to revision 6; revision 7 stays in force",
        subject="panorama",
        since="2026-11-21T11:22:28.123456Z",
        actor="kubernetes-admin",
    ),
    "alert-kernel-tampered": alert(
        "kernel-tampered", "critical", 23, message="chain c12 was flushed and put back", subject="kernel", count=3
    ),
    "alert-resolved": alert(
        "sync-stale",
        "informational",
        24,
        message="the API server is silent",
        subject="apiserver",
        state="resolved",
        since="2026-11-21T10:22:28.123456Z",
    ),
}
# The bridge's alone: no enforcer's destination gets one.
CHECKPOINT = stamp(30, "checkpoint") | {
    "severity": "informational",
    "message": "revision 7 of tier panorama is in force; the chain digest of its history is 3b4c",
    "tier": "panorama",
    "revision": 7,
    "digest": "9f86",
    "chain": "3b4c",
    "position": 12,
    "kept": 12,
    "first": 1,
}

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
AWKWARD = st.sampled_from(
    [
        "",
        "-",
        "\0",
        "a\nb\r\nc",
        "|=\\",
        "\\|\\=\\\\",
        'he said "no", twice',
        "x" * 300,
        "=" * 40,
        "tab\there",
        " cs1=evil src=1.2.3.4 ",
        "\u2028\x85\x0b\x0c",
        "ends with \\",
        "100% {unbalanced",
        "[a] ]b[",
        "CEF:0|a|b|c|d|e|1|",
        "ü€😀",
        "-*-",
        "  ",
    ]
)
TEXT = st.one_of(ANY_TEXT, AWKWARD)
NAME = TEXT.filter(bool)
ADDRESS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
PORT = st.integers(0, 65535)
LABELS = st.dictionaries(NAME, TEXT, min_size=1, max_size=3)
NAT = st.one_of(st.just({}), st.fixed_dictionaries({"natAddress": ADDRESS}, optional={"natPort": PORT}))
BARE_END = st.fixed_dictionaries(
    {"address": ADDRESS, "zone": NAME},
    optional={
        "port": PORT,
        "namespace": NAME,
        "pod": NAME,
        "workload": NAME,
        "node": NAME,
        "labels": LABELS,
    },
)
END = st.builds(lambda bare, nat: bare | nat, BARE_END, NAT)
RULES = st.fixed_dictionaries({"name": NAME}, optional={"uuid": NAME, "rulebase": NAME, "deviceGroup": NAME})
COUNTS = st.fixed_dictionaries({"packets": st.integers(0, 2**40), "bytes": st.integers(0, 2**50)})
STAMPS = st.fixed_dictionaries(
    {
        "id": st.text("0123456789abcdef", min_size=32, max_size=32),
        "time": st.just("2026-11-21T11:22:28.123456Z"),
        "cluster": NAME,
        "node": NAME,
        "sequence": st.integers(0, 2**60),
    }
)
NAMES = st.lists(NAME, min_size=1, max_size=3)
BLOCKLISTS = st.fixed_dictionaries({}, optional={"sources": NAMES, "destinations": NAMES, "mixed": st.just(True)})
FLOW_PART = st.fixed_dictionaries(
    {
        "source": END,
        "destination": END,
        "protocol": st.sampled_from(["tcp", "udp", "icmp", "icmp6", "sctp", "47", "arp", "0x88b5"]),
        "verdict": st.sampled_from(["allow", "deny", "reset"]),
        "enforced": st.booleans(),
        "direction": st.sampled_from(["original", "reply"]),
        "rule": RULES,
    },
    optional={
        "logProfile": NAME,
        "tier": NAME,
        "revision": st.integers(1, 2**40),
        "icmpType": st.integers(0, 255),
        "blocklists": BLOCKLISTS,
    },
)
FLOWS = st.builds(
    lambda *parts: {"kind": "flow"} | {key: value for part in parts for key, value in part.items()},
    STAMPS,
    FLOW_PART,
    COUNTS,
    st.fixed_dictionaries(
        {"moment": st.sampled_from(["start", "end"]), "end": st.just("2026-11-21T11:22:31.623456Z")},
        optional={
            "sent": COUNTS,
            "received": COUNTS,
            "reason": NAME,
            "client": st.fixed_dictionaries({"address": ADDRESS}, optional={"port": PORT}),
        },
    ),
)
KINDS = ["tier-tampered", "tier-refused", "kernel-tampered", "zone-unknown", "log-loss", "sync-stale", "node-problem"]
ALERT_PART = st.fixed_dictionaries(
    {
        "severity": st.sampled_from(["informational", "low", "medium", "high", "critical"]),
        "state": st.sampled_from(["raised", "counted", "resolved"]),
        "message": NAME,
        "count": st.integers(1, 2**40),
        "suppressed": st.integers(0, 2**40),
    },
    optional={"since": st.just("2026-11-21T10:22:28.123456Z"), "actor": NAME},
)
ALERTS = st.one_of(
    st.builds(
        lambda *parts: {"kind": "alert"} | {key: value for part in parts for key, value in part.items()},
        STAMPS,
        ALERT_PART,
        st.fixed_dictionaries({"alert": st.sampled_from(KINDS), "subject": NAME}),
    ),
    st.builds(
        lambda *parts: (
            {"kind": "alert", "alert": "denied-flow"} | {key: value for part in parts for key, value in part.items()}
        ),
        STAMPS,
        ALERT_PART,
        FLOW_PART,
    ),
)
RECORDS = st.one_of(FLOWS, ALERTS)
