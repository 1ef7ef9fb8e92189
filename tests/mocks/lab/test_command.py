import subprocess
import sys

import pytest

from mocks.lab import LabError
from mocks.lab.command import read

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("possible")]

PLAN = """
nodes:
  n1: {pods: [x]}
  n2: {pods: [y], bridge: true, masquerade: true}
outside:
  corp: {ip: 10.20.0.5, ip6: "2001:db8:20::5"}
tcp: [80]
"""


def command_line(*arguments):
    code = "import typer; from mocks.lab.command import serve; typer.run(serve)"
    return [sys.executable, "-c", code, *map(str, arguments)]


class TestCommand:
    def test_it_shows_the_lab_and_ends_on_a_signal(self, tmp_path):
        plan = tmp_path / "lab.yaml"
        plan.write_text(PLAN)
        argv = command_line("--config", plan, "--prefix", "cli")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            shown = ""
            for line in child.stdout:
                shown += line
                if "ends with SIGINT" in line:
                    break
            child.terminate()
            assert child.wait(60) == 0, child.stderr.read()
        for expected in ("n1", "10.244.1.2", "10.20.0.5", f"nsenter --net=/proc/{child.pid}/fd/"):
            assert expected in shown

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("nodes: {}", "nodes"),
            ("nodes: {a: {podz: [x]}}", "nodes.a.podz"),
            ("nodes: [", "cannot read"),
            ("nodes: {a: {pod_cidr: 10.0.0.0/99}}", "correct the address"),
        ],
    )
    def test_a_bad_file_is_refused_in_one_line(self, tmp_path, text, why):
        plan = tmp_path / "lab.yaml"
        plan.write_text(text)
        done = subprocess.run(command_line("--config", plan), capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert why in done.stderr
        assert done.stderr.count("\n") == 1

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(LabError, match="nowhere"):
            read(tmp_path / "nowhere.yaml")
