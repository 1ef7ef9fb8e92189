"""Which nodes are left to themselves: those that say of their pods what the API server says, or will in a moment."""

from ipaddress import ip_address

from bridge.population.spoken import PATIENCE, Spoken
from zones.addresses.inventory import Pod
from zones.kube.watch import Changed, Listed
from zones.tiers import slices

KEY = "zonebridge.io/zone"


def pod(number, node="n1", zone="web", **labels):
    at = ip_address(f"10.1.{node[1]}.{number}")
    return Pod(f"{node}-{number}", "shop", f"p{number}", node, "Running", (at,), {KEY: zone} | labels, "w")


class Told:
    """What is so, what is told, and the time."""

    def __init__(self):
        self.pods, self.now = {}, 0.0
        self.spoken = Spoken(KEY, lambda node: self.pods.get(node, ()), lambda: self.now)

    def are(self, node, *pods):
        self.pods[node] = pods
        self.spoken.stir(node)
        return self.spoken.look()

    def says(self, node, *pods, number=0, labels=(KEY,), gone=False):
        raw = slices.render("panorama", slices.own_name(node, number), node, pods, labels)
        self.spoken.fold(Changed(raw, gone=gone))
        return self.spoken.look()

    def after(self, seconds):
        self.now += seconds
        return self.spoken.look()


def test_a_node_that_says_what_its_pods_are_is_left_to_itself():
    told = Told()
    assert told.are("n1", pod(1), pod(2)) == ()
    assert not told.spoken.speaks("n1")
    assert told.says("n1", pod(1), pod(2)) == ("n1",)
    assert told.spoken.speaks("n1")
    assert told.says("n1", pod(1), pod(2), gone=True) == ("n1",)
    assert not told.spoken.speaks("n1")


def test_a_node_without_pods_speaks_too():
    told = Told()
    assert told.says("n1") == ("n1",)
    assert told.spoken.speaks("n1")


def test_pods_may_be_told_in_several_slices_but_each_once():
    told = Told()
    told.are("n1", pod(1), pod(2))
    told.says("n1", pod(1))
    assert told.says("n1", pod(2), number=1) == ()
    assert told.after(PATIENCE) == ()
    told.says("n1", pod(1), pod(2))
    assert told.after(PATIENCE) == ("n1",), "one of them is told twice"


def test_a_node_that_follows_its_pods_a_moment_later_is_left_to_itself():
    told = Told()
    told.are("n1", pod(1))
    told.says("n1", pod(1))
    told.are("n1", pod(1), pod(2))
    assert told.after(PATIENCE - 0.1) == ()
    assert told.says("n1", pod(1), pod(2)) == ()
    assert told.after(PATIENCE) == ()
    told.are("n1", pod(2))
    assert told.after(PATIENCE - 0.1) == (), "the time begins anew"


def test_a_node_that_no_longer_follows_or_says_what_is_not_so_is_overruled_until_it_is_right_again():
    for wrong in ((), (pod(1, zone="data"),), (pod(1), pod(2)), (pod(9),)):
        told = Told()
        told.are("n1", pod(1))
        told.says("n1", pod(1))
        assert told.says("n1", *wrong) == ()
        assert told.after(PATIENCE) == ("n1",)
        assert (told.spoken.speaks("n1"), set(told.spoken.overruled)) == (False, {"n1"})
        assert told.after(PATIENCE) == ()
        assert told.says("n1", pod(1)) == ("n1",)
        assert (told.spoken.speaks("n1"), set(told.spoken.overruled)) == (True, set())


def test_labels_that_only_records_carry_are_the_nodes_own_business():
    told = Told()
    told.are("n1", pod(1, app="shop"))
    told.says("n1", pod(1, app="shop"), labels=(KEY, "app"))
    told.after(PATIENCE)
    told.says("n1", pod(1, app="shop"))
    assert told.after(PATIENCE) == ()


def test_a_list_ends_what_is_not_in_it_and_the_bridges_own_slices_are_none_of_them():
    told = Told()
    told.are("n1", pod(1))
    own = slices.render("panorama", "0.n1", "n1", [pod(1)], [KEY])
    ours = slices.render("panorama", slices.name_of("panorama", "n2", 0), "n2", [pod(1, "n2")], [KEY])
    told.spoken.fold(Listed([own, ours], last=False))
    told.spoken.fold(Listed([], first=False))
    assert told.spoken.look() == ("n1",)
    assert not told.spoken.speaks("n2")
    assert len(told.spoken) == 1
    told.spoken.fold(Listed([ours]))
    assert told.spoken.look() == ("n1",)
    assert not told.spoken.speaks("n1")


def test_what_a_node_that_is_gone_has_left_is_known_after_a_while():
    told = Told()
    told.says("n1", pod(1))
    told.says("n2")
    assert told.spoken.left({"n1", "n2"}) == []
    assert told.spoken.left({"n2"}) == []
    told.now += PATIENCE
    assert told.spoken.left({"n1", "n2"}) == [], "it was made again"
    assert told.spoken.left({"n2"}) == []
    told.now += PATIENCE
    assert told.spoken.left({"n2"}) == ["0.n1"]
    told.says("n1", gone=True)
    assert told.spoken.left({"n2"}) == []
