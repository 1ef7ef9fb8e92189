"""`python -m tests.cluster build`: the programs and images of the cluster that the tests run, and what each took."""

import sys
import time
from functools import partial

from tests.apiserver.gobuild import GoBuildError
from tests.apiserver.programs import RealKubeError, Unavailable, binaries
from tests.chart.programs import program
from tests.cluster import image, machine
from tests.cluster.programs import build


def main(arguments):
    if arguments != ["build"]:
        print("usage: python -m tests.cluster build", file=sys.stderr)
        return 2
    return build_all()


def build_all():
    if reason := machine.unavailable():
        print(f"no cluster on this machine, so that nothing is built: {reason}")
        return 0
    try:
        took(build_server, "kube-apiserver, kubectl")
        parts = build()
        while part := took(lambda: next(parts, None), "the next part"):
            print(f"  {', '.join(part.build.programs)}, in {part.folder}", flush=True)
        for name in ("helm3", "helm4"):
            took(partial(build_helm, name), name)
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


def build_helm(name):
    found = program(name)
    if isinstance(found, Unavailable):
        raise RealKubeError(found.reason)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
