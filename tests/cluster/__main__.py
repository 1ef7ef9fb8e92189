"""`python -m tests.cluster build`: the programs and images of the cluster that the tests run, and what each took.

`python -m tests.cluster test`: the tests, on three clusters side by side. A cluster mostly waits (for probes, roll-outs,
time-outs), so that three take little longer than one.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.apiserver.gobuild import GoBuildError
from tests.apiserver.programs import RealKubeError, Unavailable, binaries
from tests.chart.programs import program
from tests.cluster import image, machine
from tests.cluster.programs import build

FOLDER = Path(__file__).parent
PYTEST = (sys.executable, "-m", "pytest", "-q", "-m", "cluster", "--durations=10")
# What has a cluster of its own, beside the one that has all the others.
BESIDE = (("test_networks.py",), ("test_bad_settings.py", "test_chart.py", "test_first_hour.py"))


def main(arguments):
    work = {("build",): build_all, ("test",): test_all}.get(tuple(arguments))
    if work is None:
        print("usage: python -m tests.cluster build | test", file=sys.stderr)
        return 2
    return work()


def test_all():
    """The output of each, one after the other; 0 where all passed."""
    groups = [[FOLDER / name for name in names] for names in BESIDE]
    others = [FOLDER, *(f"--ignore={file}" for files in groups for file in files)]
    with ExitStack() as stack:
        running = [begin(files, stack.enter_context(tempfile.TemporaryFile("w+"))) for files in groups]
        codes = [subprocess.run([*PYTEST, *others], check=False).returncode]
        for process, output in running:
            codes.append(process.wait())
            output.seek(0)
            print(output.read(), flush=True)
    return int(any(codes))


def begin(files, output):
    return subprocess.Popen([*PYTEST, *files], stdout=output, stderr=output), output


def build_all():
    if reason := machine.unavailable():
        print(f"no cluster on this machine, so that nothing is built: {reason}")
        return 0
    try:
        took(build_server, "kube-apiserver, kubectl")
        parts = build()
        while part := took(lambda: next(parts, None), "the next part"):
            print(f"  {', '.join(part.build.programs)}, in {part.folder}", flush=True)
        took(build_helm, "Helm 4")
        took(image.dependencies, "Python and the pinned requirements as an image's layer")
    except (GoBuildError, RealKubeError) as error:
        print(f"no cluster: {error}", file=sys.stderr)
        return 1
    return 0


def took(work, what):
    started = time.monotonic()
    made = work()
    if made is not None:
        print(f"{time.monotonic() - started:4.0f} s  {what}", flush=True)
    return made


def build_server():
    server = binaries()
    if isinstance(server, Unavailable):
        raise RealKubeError(server.reason)
    return server


def build_helm():
    found = program("helm4")
    if isinstance(found, Unavailable):
        raise RealKubeError(found.reason)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
