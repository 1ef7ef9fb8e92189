"""A table of connections without room drops packets before any rule: that is a problem of the node."""

from pathlib import Path

import pytest

from enforcer.node.conntrack_capacity import Tracking

NAMES = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error"
PROCESSOR = (
    "00000010  00000000 00000000 00000000 00000001 00000000 00000000 00000003 00000000 00000000 {:08x} {:08x} 00000000"
)


@pytest.fixture
def kernel(tmp_path):
    """The kernel's files, as they are written for the look that follows."""
    tracking = Tracking(tmp_path / "statistics", tmp_path)

    def look(held, *lost, most=1000):
        (tmp_path / "nf_conntrack_count").write_text(f"{held}\n")
        (tmp_path / "nf_conntrack_max").write_text(f"{most}\n")
        (tmp_path / "statistics").write_text("\n".join([NAMES, *(PROCESSOR.format(*each) for each in lost)]) + "\n")
        return tracking.problems()

    return look


def test_packets_that_found_no_room_are_told_once(kernel):
    assert kernel(10, (26, 0), (0, 3)) == []  # lost before anybody looked
    assert kernel(1000, (26, 0), (0, 3)) != []
    (problem,) = kernel(990, (42, 1), (2, 3))
    assert problem == (
        "the kernel's table of connections (net.netfilter.nf_conntrack_max: 1000) had no room: what found none was "
        "dropped before any rule, without a record; raise that, and look for who opens so many"
    )
    assert kernel(991, (42, 2), (2, 3)) == [problem]
    assert kernel(10, (42, 2), (2, 3)) == []


def test_a_table_that_is_nearly_full_is_told(kernel):
    assert kernel(949, (0, 0)) == []
    (problem,) = kernel(950, (0, 0))
    assert "1000" in problem
    assert "nearly full" in problem


def test_counts_that_begin_anew_or_cannot_be_read_are_no_problem(kernel, tmp_path):
    assert kernel(10, (26, 0)) == []
    assert kernel(10, (1, 0)) == []
    for name in ("statistics", "nf_conntrack_count"):
        (tmp_path / name).write_text("nothing\n")
        assert Tracking(tmp_path / "statistics", tmp_path).problems() == []


@pytest.mark.kernel
def test_this_kernel_has_these_counts():
    for each in ("/proc/net/stat/nf_conntrack", "/proc/sys/net/netfilter/nf_conntrack_max"):
        assert Path(each).exists()
    tracking = Tracking()
    tracking.problems()
    assert tracking._lost is not None
