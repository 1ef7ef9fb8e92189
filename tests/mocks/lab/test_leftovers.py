import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mocks.lab import Lab, LabError, purge
from mocks.lab.leftovers import inhabitants

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("possible")]


def own_namespaces_held():
    """Network namespaces that this process has a descriptor of."""
    return [link for entry in Path("/proc/self/fd").iterdir() if (link := target(entry)).startswith("net:")]


def target(link):
    try:
        return str(link.readlink())
    except OSError:
        return ""


def links_here():
    return sorted(Path("/sys/class/net").iterdir())


def fail_with(pod):
    return pod.name / 0


class TestTeardown:
    def test_nothing_is_left(self):
        links, held = links_here(), own_namespaces_held()
        threads = threading.active_count()
        with Lab("t3") as lab:
            node = lab.node("node-1")
            pod = node.pod("a")
            lab.listen(pod, 80)
            lab.conversation(node, pod.ip, 80)
            lab.relay(9)
            inodes = {each.netns.inode for each in (lab.control, node, pod)}
            started_by_us = pod.popen(["cat", "/dev/zero"])
            started_by_others = subprocess.Popen(node.command(["cat", "/dev/zero"]), stdout=subprocess.DEVNULL)
            assert links_here() == links
        assert started_by_us.wait(5) != 0
        assert started_by_others.wait(5) != 0
        assert own_namespaces_held() == held
        assert links_here() == links
        assert not [pid for pid, inode in inhabitants() if inode in inodes]
        assert threading.active_count() == threads

    def test_nothing_is_left_after_a_failure(self):
        held = own_namespaces_held()
        with pytest.raises(TypeError), Lab("t4") as lab:
            fail_with(lab.node("node-1").pod("a"))
        assert own_namespaces_held() == held

    def test_a_name_that_cannot_be_a_mark_is_refused(self):
        with pytest.raises(LabError, match="can't name a lab"):
            Lab("a:b")

    def test_purge_ends_what_a_killed_lab_left_and_nothing_else(self):
        name = f"orphan-{os.getpid()}"
        code = (
            "import os, signal\n"
            "from mocks.lab import Lab\n"
            f"lab = Lab('{name}').__enter__()\n"
            "child = lab.node('n').popen(['sleep', '1000'])\n"
            "print(child.pid, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        left = int(dead.stdout)
        with Lab(f"{name}-2") as lab:
            alive = lab.node("n").popen(["sleep", "1000"])
            assert purge(name) == [left]
            assert purge(f"{name}-2") == []
            assert alive.poll() is None
