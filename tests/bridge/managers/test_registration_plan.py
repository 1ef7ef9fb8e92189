"""Which tags a pod's addresses get, and what is sent to make Panorama hold them: golden where people read, else properties."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from xml.etree.ElementTree import fromstring

from hypothesis import given
from hypothesis import strategies as st

from bridge.explain.services import Selectors, Services
from bridge.managers.panorama.registration.messages import not_taken, registered, registered_pages, uid_message
from bridge.managers.panorama.registration.plan import TagMessage, Verb, after, fitting, plan, refresh
from bridge.managers.panorama.registration.tags import LONGEST_TAG, Naming, fit, mappings
from bridge.population import Member
from zones.addresses.inventory import Pod
from zones.kube.watch import Changed, Listed

NAMING = Naming("prod", ("app.kubernetes.io/name", "tier"))


def test_a_pod_in_quarantine_has_a_tag_of_its_own_and_loses_it_when_it_is_let_out():
    cut = member("web-1", "10.0.0.1", "2001:db8::1")
    cut = Member(replace(cut.pod, quarantined=True), cut.claimed, cut.isolated)
    found = mappings([cut], NAMING, Selectors())
    assert all("k8s.cl_prod.quarantined" in tags for tags in found.values())
    assert len(found) == 2
    free = mappings([member("web-1", "10.0.0.1", "2001:db8::1")], NAMING, Selectors())
    (message,) = plan(free, found, NAMING.owns)
    assert message.verb is Verb.UNREGISTER
    assert message.entries == dict.fromkeys(found, frozenset({"k8s.cl_prod.quarantined"}))


def member(name="web-1", *addresses, namespace="shop", zone="web", isolated=False, workload="web", **labels):
    found = tuple(map(ip_address, addresses or ("10.0.0.1",)))
    pod = Pod(f"uid-{namespace}-{name}", namespace, name, "n1", "Running", found, labels, workload)
    return Member(pod, zone, isolated)


def test_the_tags_of_pods():
    people = [
        member("web-1", "10.0.0.1", "2001:db8::1", tier="front", secret="no"),
        member("db-0", "10.0.0.2", namespace="data", zone="db", workload="orders-db"),
        member("thief", "10.0.0.3", namespace="lab", zone="db", isolated=True, workload=""),
    ]
    front = {
        "k8s.cl_prod.zone_web",
        "k8s.cl_prod.ns_shop",
        "k8s.cl_prod.ns_shop.wl_web",
        "k8s.cl_prod.ns_shop.tier.front",
    }
    assert mappings(people, NAMING, Selectors()) == {
        "10.0.0.1": front,
        "2001:db8::1": front,
        "10.0.0.2": {"k8s.cl_prod.zone_db", "k8s.cl_prod.ns_data", "k8s.cl_prod.ns_data.wl_orders-db"},
        "10.0.0.3": {"k8s.cl_prod.ns_lab"},
    }


def test_a_label_of_the_plug_ins_form():
    pod = member()
    pod.pod.labels["app.kubernetes.io/name"] = "shop"
    assert "k8s.cl_prod.ns_shop.app.kubernetes.io/name.shop" in mappings([pod], NAMING, Selectors())["10.0.0.1"]


def test_the_services_that_select_a_pod_and_no_more_tags_than_pan_os_knows():
    services = Services()
    services.fold(
        Listed([service(f"s{n:02}", app="x") for n in range(40)] + [service("web", tier="front"), service("a", "lab")])
    )
    few, many = member("a", "10.0.0.1", tier="front"), member("b", "10.0.0.2", app="x", tier="front")
    found = mappings([few, many], NAMING, services.snapshot())
    assert {tag for tag in found["10.0.0.1"] if "svc_" in tag} == {"k8s.cl_prod.ns_shop.svc_web"}
    assert len(found["10.0.0.2"]) == 32
    assert "k8s.cl_prod.zone_web" in found["10.0.0.2"]


def service(name, namespace="shop", **selector):
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"selector": selector} if selector else {}}


def test_services_as_they_come_and_go():
    services, pod = Services(), member(app="x").pod
    services.fold(
        Listed([service("one", app="x"), service("other", app="y"), service("by hand"), service("one", "lab", app="x")])
    )
    assert services.complete
    assert services.snapshot().of(pod) == ("one",)
    before = services.generation
    services.fold(Changed(service("one", app="x")))
    assert services.generation == before
    services.fold(Changed(service("other", app="x")))
    services.fold(Changed(service("one", app="x"), gone=True))
    assert services.snapshot().of(pod) == ("other",)
    services.fold(Listed([]))
    assert services.snapshot().of(pod) == ()
    assert services.generation == before + 4


def test_an_address_that_two_running_pods_claim_is_nobodys():
    both = [member("a", "10.0.0.1", "10.0.0.9"), member("b", "10.0.0.1")]
    assert mappings(both, NAMING, Selectors()).keys() == {"10.0.0.9"}


def test_tags_fit_pan_os():
    long = ["x" * 200 + "a", "x" * 200 + "b"]
    assert len({fit(each) for each in long}) == 2
    assert all(len(fit(each)) == LONGEST_TAG for each in long)
    assert fit('it\'s "mine"\n') == "it_s _mine__"


def test_only_our_own_cluster_is_ours():
    assert NAMING.owns("k8s.cl_prod.ns_shop")
    assert NAMING.owns("k8s.cl_prod.zone_web")
    foreign = [
        "k8s.cl_prod2.ns_shop",
        "k8s.cl_prod.svc_x",
        "k8s.cl_pro.ns_shop",
        "K8S.cl_prod.ns_shop",
        "quarantine",
        "",
    ]
    assert not [tag for tag in foreign if NAMING.owns(tag)]


addresses = st.sampled_from([f"10.0.0.{n}" for n in range(8)])
ours = st.frozensets(st.sampled_from([f"k8s.cl_prod.ns_{n}" for n in range(4)]), min_size=1)
anybodys = st.frozensets(
    st.sampled_from([f"k8s.cl_prod.ns_{n}" for n in range(4)] + ["k8s.cl_prod2.ns_0", "bad"]), min_size=1
)
desires = st.dictionaries(addresses, ours)
holdings = st.dictionaries(addresses, anybodys)


def applied(held, messages):
    for message in messages:
        held = after(held, message)
    return held


def kept(held, mine):
    """The part of what is held that is ours, or everybody else's."""
    parts = {ip: frozenset(tag for tag in tags if NAMING.owns(tag) is mine) for ip, tags in held.items()}
    return {ip: tags for ip, tags in parts.items() if tags}


@given(desires, holdings, st.integers(1, 6))
def test_what_is_planned_makes_it_so_and_touches_nobody_else(desired, held, most):
    messages = plan(desired, held, NAMING.owns, most)
    result = applied(held, messages)
    assert kept(result, mine=True) == desired
    assert kept(result, mine=False) == kept(held, mine=False)
    assert plan(desired, result, NAMING.owns) == ()


@given(desires, holdings, st.integers(1, 6))
def test_messages_are_bounded_and_what_is_gone_comes_first(desired, held, most):
    messages = plan(desired, held, NAMING.owns, most)
    verbs = [message.verb for message in messages]
    assert verbs == sorted(verbs, reverse=True)
    assert all(sum(map(len, message.entries.values())) <= max(most, 4) for message in messages)
    assert all(tags for message in messages for tags in message.entries.values())


@given(desires, holdings, st.integers(0, 8))
def test_no_more_addresses_than_there_is_room_for(desired, held, most):
    chosen = fitting(desired, held, NAMING.owns, most)
    others = {ip for ip in kept(held, mine=False) if ip not in desired}
    assert len(chosen) == min(len(desired), max(most - len(others), 0))
    assert chosen.items() <= desired.items()
    result = applied(held, plan(chosen, held, NAMING.owns))
    assert fitting(desired, result, NAMING.owns, most) == chosen, "the next pass changes its mind"


def test_a_message_as_panorama_reads_it():
    entries = {"10.0.0.1": frozenset({"b", "a"})}
    assert uid_message(TagMessage(Verb.REGISTER, entries), timedelta(hours=1)) == (
        "<uid-message><version>2.0</version><type>update</type><payload><register>"
        '<entry ip="10.0.0.1"><tag><member timeout="3600">a</member><member timeout="3600">b</member></tag></entry>'
        "</register></payload></uid-message>"
    )
    assert "timeout" not in uid_message(TagMessage(Verb.UNREGISTER, entries), timedelta(hours=1))
    assert "timeout" not in uid_message(TagMessage(Verb.REGISTER, entries), None)
    assert refresh(entries) == (TagMessage(Verb.REGISTER, entries),)


def test_what_was_not_taken_is_told_and_what_holds_already_is_not():
    refusal = """<response status="error"><msg><line><uid-response><version>2.0</version><payload><register>
      <entry ip="10.0.0.1" message="tag a already exists, ignore"/><entry ip="x" message="x is not a valid ip"/>
      </register><unregister><entry ip="10.0.0.2" message="tag b does not exist, ignore unreg"/></unregister>
      </payload></uid-response></line></msg></response>"""
    assert list(not_taken(fromstring(refusal))) == ["x: x is not a valid ip"]


def test_a_page_of_registered_addresses():
    page = """<result><entry ip="10.0.0.1" from_agent="0" persistent="1"><tag><member>a</member><member>b</member></tag></entry>
      <count>1</count></result>"""
    assert registered(fromstring(page)) == {"10.0.0.1": {"a", "b"}}


def pages_of(*entries, size=2):
    """A Panorama that pages, and what it was asked for."""
    asked = []

    def op(command):
        asked.append(int(command))
        page = "".join(f'<entry ip="{ip}"/>' for ip in entries[int(command) - 1 :][:size])
        return fromstring(f"<r>{page}</r>")

    return [set(page) for page in registered_pages(op, str, size)], asked


def test_pages_begin_where_the_ones_before_ended_also_where_one_repeats_what_moved():
    assert pages_of("a", "b", "b", "c", "d") == ([{"a", "b"}, {"b", "c"}, {"d"}], [1, 3, 5])
    assert pages_of("a", "b") == ([{"a", "b"}, set()], [1, 3])
    assert pages_of("a", "a", "b") == ([{"a"}, {"b"}], [1, 3])
    assert pages_of() == ([set()], [1])


def test_a_panorama_that_does_not_page_is_read_twice_and_no_more():
    def op(_):
        return fromstring('<r><entry ip="a"/><entry ip="b"/><entry ip="c"/></r>')

    assert list(registered_pages(op, str, 2)) == [dict.fromkeys("abc", frozenset())] * 2
