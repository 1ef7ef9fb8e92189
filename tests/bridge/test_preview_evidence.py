"""What a candidate means for the pods that are there, for what was seen, and for guard rails."""

import json
import re

import pytest

from tests.panorama_xml import config_text, entry, members, rule, rulebase, section

SHOP = section("address-group", entry("shop-net", members("static", "shop-1")))
SHOP_GREW = section("address-group", entry("shop-net", members("static", "shop-1", "shop-2")))
HOSTS = section(
    "address",
    entry("shop-1", "<ip-netmask>10.1.0.0/24</ip-netmask>"),
    entry("shop-2", "<ip-netmask>10.2.0.0/24</ip-netmask>"),
)
HTTPS = section("service", entry("https", "<protocol><tcp><port>443</port></tcp></protocol>"))
WEB = rule("web to db", from_="web", to="db", service="https")
ANY = rule("web to db", from_="web", to="db")
SETTINGS = """
zones: {networks: {corp: [192.0.2.0/24]}}
guardrails: [{from: corp, to: db, allow: never}, {from: web, to: db, allow: [tcp/443]}]
"""


def pod(namespace, name, zone, address, owner=None, **more):
    metadata = {"namespace": namespace, "name": name, "uid": f"{namespace}-{name}"}
    metadata |= {"labels": {"zonebridge.io/zone": zone} if zone else {}}
    if owner:
        metadata["ownerReferences"] = [{"kind": "ReplicaSet", "name": owner, "controller": True}]
    return {
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": "n1", **more},
        "status": {"phase": "Running", "podIPs": [{"ip": address}]},
    }


PODS = [
    pod("shop", "cart-7d4b9c6f5-x2x4z", "web", "10.1.0.10", "cart-7d4b9c6f5"),
    pod("shop", "cart-7d4b9c6f5-z9z9z", "web", "10.1.0.11", "cart-7d4b9c6f5"),
    pod("shop", "login", "web", "10.2.0.10"),
    pod("data", "postgres-0", "db", "10.3.0.10"),
    pod("data", "agent", "db", "198.51.100.7", hostNetwork=True),
]


def end(zone, address, namespace=None, workload=None, *, port=None, node="n1"):
    given = {"zone": zone, "address": address, "namespace": namespace, "workload": workload, "port": port, "node": node}
    return {key: value for key, value in given.items() if value is not None}


def record(source, destination, moment="start", time="2026-11-21T11:22:28.123456Z", **more):
    ends = {"source": source, "destination": destination}
    return (
        {"kind": "flow", "time": time, "node": "n1", "protocol": "tcp", "verdict": "allow", "moment": moment}
        | ends
        | more
    )


CART = end("web", "10.1.0.10", "shop", "cart", port=40000)
POSTGRES = end("db", "10.3.0.10", "data", "postgres", port=5432)


@pytest.fixture
def preview(run, tmp_path):
    """Preview rules, with files of whatever options need them; exit code, output (JSON as values) and errors."""

    def go(running, candidate, *more, shared=(HOSTS + SHOP + HTTPS, HOSTS + SHOP + HTTPS), **files):
        arguments = ["--device-group", "dg"]
        for name, rules, objects in zip(("running", "candidate"), (running, candidate), shared, strict=True):
            path = tmp_path / f"{name}.xml"
            path.write_text(config_text(shared=objects, groups={"dg": rulebase("pre", *rules)}))
            arguments += [f"--{name}", path]
        for name, text in files.items():
            path = tmp_path / name
            path.write_text(text if isinstance(text, str) else json.dumps(text))
            arguments += [f"--{name.replace('_', '-')}", path]
        code, out, err = run("preview", *arguments, *more)
        return code, json.loads(out) if out.startswith("{") else out, err

    return go


def lines(*records):
    return "\n".join(map(json.dumps, records))


def test_a_change_is_told_for_the_workloads_that_are_there(preview):
    code, seen, _ = preview([ANY], [WEB], "-o", "json", pods={"kind": "List", "items": PODS})
    assert code == 0
    (change,) = [each for each in seen["workloads"] if each["protocols"] == "6"]
    assert (change["from"], change["to"], change["pairs"]) == ("web", "db", 2)
    assert change["sources"] == [
        {"namespace": "shop", "workload": "cart", "pods": 2},
        {"namespace": "shop", "workload": "login", "pods": 1},
    ]
    assert change["destinations"] == [{"namespace": "data", "workload": "postgres-0", "pods": 1}]
    assert (change["old"]["verdict"], change["new"]["verdict"], change["ports"]) == ("allow", "deny", "0-442,444-65535")
    assert seen["coverage"]["pods"] == 4


def test_only_workloads_with_such_addresses_are_concerned(preview):
    narrow = rule("web to db", from_="web", to="db", source="shop-net")
    _, seen, _ = preview([ANY], [narrow], "-o", "json", pods={"items": PODS})
    assert [change["sources"] for change in seen["workloads"]] == [
        [{"namespace": "shop", "workload": "login", "pods": 1}]
    ]


def test_an_end_outside_of_the_cluster_has_no_name(preview, tmp_path):
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    opened = rule("corp to db", from_="corp", to="db", source="192.0.2.0/25")
    _, seen, _ = preview([], [opened], "-o", "json", "-c", tmp_path / "settings.yaml", pods={"items": PODS})
    (change,) = seen["workloads"]
    assert change["sources"] == [{"namespace": None, "workload": None, "pods": 0}]
    assert change["source"] == ["192.0.2.0/25"]
    elsewhere = rule("corp to db", from_="corp", to="db", source="203.0.113.0/24")
    _, seen, _ = preview([], [elsewhere], "-o", "json", "-c", tmp_path / "settings.yaml", pods={"items": PODS})
    assert (seen["workloads"], len(seen["changes"])) == ([], 1)


def test_the_plain_list_of_pods_needs_little(preview):
    pods = lines(
        {"namespace": "shop", "name": "cart", "zone": "web"}, {"namespace": "data", "name": "db-0", "zone": "db"}
    )
    _, seen, _ = preview([ANY], [], "-o", "json", pods=pods)
    assert [(c["sources"][0]["workload"], c["destinations"][0]["workload"]) for c in seen["workloads"]] == [
        ("cart", "db-0")
    ]


def test_a_namespace_that_is_not_entitled_isolates_its_pods(preview):
    shop = {"kind": "Namespace", "metadata": {"name": "shop", "annotations": {"zonebridge.io/zones": "batch"}}}
    data = {"kind": "Namespace", "metadata": {"name": "data", "annotations": {"zonebridge.io/zones": "*"}}}
    _, seen, _ = preview([ANY], [], "-o", "json", pods={"items": [shop, data, *PODS]})
    assert seen["workloads"] == []


def test_pods_that_change_their_zone_are_told_apart(preview):
    then = [pod("shop", "login", "batch", "10.2.0.10"), *PODS[:2], *PODS[3:]]
    code, seen, _ = preview([ANY], [ANY], "-o", "json", pods={"items": PODS}, pods_then={"items": then})
    assert seen["pods"] == [{"namespace": "shop", "pod": "login", "old_zone": "web", "new_zone": "batch"}]
    assert (code, seen["changes"]) == (0, [])


@pytest.mark.parametrize(
    ("pods", "what"),
    [
        ("[1]", "no list of pods"),
        ("{", "line 1 is no JSON"),
        ([{"namespace": "a"}], "needs a namespace and a name"),
        ([{"namespace": "a", "name": "b", "color": "red"}], "'color' is not known"),
        ([{"namespace": "a", "name": "b", "addresses": ["10.0.0.999"]}], "10.0.0.999"),
        ([{"namespace": "a", "name": 7}], "name must be text"),
        ({"items": [{"metadata": {"name": "x"}}]}, "not as Kubernetes writes it"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_pods_that_cant_be_read_are_2(preview, pods, what):
    code, _, err = preview([ANY], [], pods=pods)
    assert (code, what in err) == (2, True), err


def test_a_seen_connection_that_would_be_cut_is_counted_and_ends_with_1(preview):
    records = lines(
        record(CART, POSTGRES),
        record(CART | {"port": 40001}, POSTGRES),
        record(CART, POSTGRES, "end", "2026-11-21T11:25:00Z", end="2026-11-21T11:26:00Z"),
        record(CART, POSTGRES | {"port": 443}),
        {"kind": "alert", "alert": "denied-flow"},
        {"not": "a record"},
    )
    code, seen, err = preview([ANY], [WEB], "-o", "json", seen=records)
    assert (code, "2 connections that were seen would be denied" in err) == (1, True)
    (change,) = seen["seen"]
    assert (change["connections"], change["port"], change["from"]["workload"]) == (2, 5432, "cart")
    assert (change["old"]["verdict"], change["new"]["rule"]["name"]) == ("allow", "interzone-default")
    coverage = {"flows": 2, "connections": 3, "unread": 1, "nodes": ["n1"], "since": "2026-11-21T11:22:28.123456Z"}
    assert seen["coverage"] | coverage == seen["coverage"]
    assert seen["summary"]["seen_denied"] == 2


def test_what_is_seen_and_stays_allowed_is_0(preview):
    code, out, err = preview([ANY], [WEB], seen=lines(record(CART, POSTGRES | {"port": 443})))
    assert (code, err) == (0, "")
    assert "1 connections, of which none would be denied" in out


def test_records_of_addresses_and_nodes_count_too(preview, tmp_path):
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    outside = record(end("corp", "192.0.2.7", port=1), POSTGRES)
    node = record(end("nodes", "198.51.100.1", port=1, node="n2"), POSTGRES)
    own_node = record(end("nodes", "198.51.100.1", port=1, node="n1"), POSTGRES)
    to_db = rule("to db", to="db")
    arguments = "-o", "json", "-c", tmp_path / "settings.yaml"
    _, seen, _ = preview([to_db], [], *arguments, seen=lines(outside, node, own_node))
    assert [each["from"]["address"] for each in seen["seen"]] == ["192.0.2.7", "198.51.100.1"]


def test_guard_rails_are_judged_exactly(preview, tmp_path):
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    opened = rule("corp to db", from_="corp", to="db", service="https")
    arguments = "-o", "json", "-c", tmp_path / "settings.yaml"
    code, seen, err = preview([ANY], [opened, ANY], *arguments, "--fail-on", "guardrail")
    assert (code, "guard rails are broken: corp to db" in err) == (1, True)
    new, old, _ = seen["violations"]
    assert (new["from"], new["rule"]["name"], new["traffic"], new["existing"]) == (
        "corp",
        "corp to db",
        "tcp/443",
        False,
    )
    assert (old["from"], old["rule"]["name"], old["allow"], old["existing"]) == ("web", "web to db", ["tcp/443"], True)
    code, seen, _ = preview([ANY], [WEB], *arguments, "--fail-on", "guardrail")
    assert (code, seen["violations"]) == (0, [])
    denied = rule("not from corp", "deny", from_="corp")
    assert preview([], [denied, opened], *arguments, "--fail-on", "guardrail")[1]["violations"] == []


def test_guard_rails_may_be_a_matrix(preview):
    matrix = "from,db,nodes\nweb,tcp/443 udp/53,never\ncorp,,\n"
    _, seen, _ = preview([], [ANY], "-o", "json", guardrails=matrix)
    assert {(each["from"], each["to"]) for each in seen["violations"]} == {("web", "db")}
    assert preview([], [WEB], "-o", "json", guardrails=matrix)[1]["violations"] == []


@pytest.mark.parametrize(
    ("matrix", "what"),
    [
        ("from,db\nweb,http\n", "row 2, column 'db'"),
        ("from,db\nweb,tcp/99999\n", "not within 0-65535"),
        ("from,db\nweb,icmp/1\n", "icmp has no ports"),
        ("from,db\nweb,never,never\n", "more cells"),
        ("from,db\n,never\n", "no zone"),
        ('from,db\n"web,never\n', "no CSV"),
    ],
)
def test_a_matrix_that_cant_be_read_is_2(preview, matrix, what):
    code, _, err = preview([], [ANY], guardrails=matrix)
    assert (code, what in err) == (2, True), err


def test_an_object_that_grew_is_told_once_with_its_rules(preview):
    rules = [rule(name, from_=name, to="db", source="shop-net") for name in ("web", "batch")]
    _, seen, _ = preview(rules, rules, "-o", "json", shared=(HOSTS + SHOP, HOSTS + SHOP_GREW))
    (change,) = seen["objects"]
    assert (change["kind"], change["name"], change["gained"], change["lost"]) == (
        "address",
        "shop-net",
        ["10.2.0.0/24"],
        [],
    )
    assert [each["name"] for each in change["rules"]] == ["web", "batch"]
    _, out, _ = preview(rules, rules, shared=(HOSTS + SHOP_GREW, HOSTS + SHOP))
    assert "shop-net  address  -      10.2.0.0/24  web, batch" in out


@pytest.mark.parametrize(("zone", "code"), [("web", 1), ("corp", 0), ("db", 0)])
def test_new_allow_can_be_asked_of_one_zone(preview, zone, code):
    assert preview([], [WEB], "--fail-on", f"new-allow-from={zone}")[0] == code


def test_the_table_has_what_is_cut_before_what_changes(preview):
    _, out, _ = preview([ANY], [], seen=lines(record(CART, POSTGRES)), pods={"items": PODS})
    text = out.splitlines()
    places = [
        next(at for at, line in enumerate(text) if line.startswith(start)) for start in ("Seen since", "CHANGE", "FROM")
    ]
    assert places == sorted(places)
    assert "1            web shop/cart  db data/postgres  tcp/5432" in out


def table_of(page, key):
    """A table of the page as rows of cells' texts, without what stands in each beneath."""
    section = re.search(rf'<section id="{key}".*?</section>', page, re.DOTALL)
    rows = re.findall(r"<tr[^>]*>(?:\s*<td.*?)</tr>", section[0], re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    texts = [[re.sub(r"<small>.*?</small>|<[^>]*>|[●○◐]", "", cell, flags=re.DOTALL) for cell in row] for row in cells]
    return [[" ".join(text.split()) for text in row] for row in texts]


def test_the_page_has_everything_that_was_asked_for(preview, tmp_path):
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    corp = rule("corp to db", from_="corp", to="db", service="https")
    then = [pod("shop", "login", "batch", "10.2.0.10"), *PODS[:2], *PODS[3:]]
    files = {"pods": {"items": PODS}, "pods_then": {"items": then}, "seen": lines(record(CART, POSTGRES))}
    code, page, _ = preview([ANY], [corp, WEB], "-o", "html", "-c", tmp_path / "settings.yaml", **files)
    assert code == 1, "a connection that was seen would be denied"
    assert table_of(page, "violations") == [["corp → db", "corp to db", "any", "any", "tcp/443", "new"]]
    (seen,) = table_of(page, "seen")
    assert (seen[:4], seen[5:]) == (["1", "web shop/cart", "db data/postgres", "tcp/5432"], ["allow", "deny"])
    assert ["added", "corp to db", "-", "allow", ""] in table_of(page, "rules")
    assert table_of(page, "pods") == [["shop/login", "web", "batch"]]
    assert ["web", "shop/cart", "db", "data/postgres-0"] in [row[:4] for row in table_of(page, "workloads")]
    flows = table_of(page, "flows")
    assert [row[:2] + row[5:] for row in flows if row[4] == "tcp/443"] == [["corp", "db", "deny", "allow"]]
    assert "Seen since 2026-11-21T11:22:28" in page


def test_the_page_of_a_refused_candidate_says_why_and_has_no_matrix(preview):
    by_user = rule("no bob", "deny", extra="<source-user><member>bob</member></source-user>")
    code, page, _ = preview([ANY], [by_user], "-o", "html")
    assert code == 1
    assert "WOULD BE REFUSED" in page
    assert "its user: bob" in page
    assert 'id="matrix"' not in page
    assert ["added", "no bob"] in [row[:2] for row in table_of(page, "rules")]


def test_an_object_that_grows_is_one_row_of_the_page(preview):
    narrow = rule("web to db", from_="web", to="db", source="shop-net")
    _, page, _ = preview([narrow], [narrow], "-o", "html", shared=(HOSTS + SHOP, HOSTS + SHOP_GREW))
    assert table_of(page, "objects") == [["shop-net", "10.2.0.0/24", "", "web to db"]]
