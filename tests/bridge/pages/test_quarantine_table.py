"""Who is in quarantine, as the page of a cluster has it: the pods that a Quarantine is about now."""

from bridge.pages.quarantine_table import quarantine_table
from zones.addresses.inventory import Pod
from zones.tiers.quarantines import Quarantine

WEB = Quarantine("held-web", "u1", "shop", workload="web", duration="4h", seconds=14_400, created=0.0)
ONE = Quarantine("held-one", "u2", "shop", pod="web-1", pod_uid="uid-1", duration="4h", seconds=14_400, created=0.0)


def pod(name, uid, workload="web", phase="Running", **more):
    return Pod(
        uid=uid, namespace="shop", name=name, node="n1", phase=phase, addresses=(), labels={}, workload=workload, **more
    )


PODS = [
    pod("web-1", "uid-1"),
    pod("web-2", "uid-2"),
    pod("web-0", "uid-0", phase="Succeeded"),
    pod("web-3", "uid-3", terminating=True, stopped=True),
    pod("db-1", "uid-4", "db"),
]


def texts(quarantine, pods):
    (row,) = quarantine_table([quarantine], 60.0, pods).rows
    return row.cells[0].text, row.cells[0].small


def test_a_workload_is_its_pods_that_have_not_ended():
    assert texts(WEB, {"shop": PODS}) == ("workload shop/web", "2 pods: web-1, web-2")


def test_a_pod_is_the_one_of_its_uid_and_no_later_one_of_its_name():
    assert texts(ONE, {"shop": PODS}) == ("pod shop/web-1", "1 pod: web-1")
    assert texts(ONE, {"shop": [pod("web-1", "uid-9")]})[1] == "no pod now"


def test_where_pods_cannot_be_read_the_page_does_not_say_that_there_are_none():
    assert texts(WEB, {"shop": None})[1] == "which pods these are can't be read"
    assert texts(WEB, {})[1] == "which pods these are can't be read"


def test_many_pods_are_counted_and_some_named():
    many = [pod(f"web-{number}", f"uid-{number}") for number in range(9)]
    assert texts(WEB, {"shop": many})[1] == "9 pods: web-0, web-1, web-2, web-3, web-4 and 4 more"
