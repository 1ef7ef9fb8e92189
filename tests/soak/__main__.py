"""`make soak SECONDS=3600 SEED=7`: JSON lines of each round, then the figures. Ends with 1 at a broken invariant."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import time
from typing import Any

import structlog

from tests.demo.company import example
from tests.demo.world import WorldError
from tests.realkube import Unavailable, binaries
from tests.soak.rounds import Soak
from tests.soak.stage import Stage
from tests.soak.truth import BrokenError


class StoppedError(Exception):
    """SIGTERM: the figures so far are printed, and the exit code is 2."""


def stop(*_: object) -> None:
    raise StoppedError


def say(**figures: Any) -> None:
    print(json.dumps(figures), flush=True)


def main() -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.disable(logging.ERROR)  # the balancer's, of collectors that are away
    programs = binaries()
    if isinstance(programs, Unavailable):
        print(f"no real kube-apiserver: {programs.reason}", file=sys.stderr)
        return 1
    seconds = float(os.environ.get("SECONDS", "600"))
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    say(seed=seed, seconds=seconds)
    began = time.monotonic()
    signal.signal(signal.SIGTERM, stop)
    with Stage(example(), programs) as stage:
        soak = None
        try:
            stage.start_product()
            soak = Soak(stage, random.Random(seed), say)
            soak.run(seconds)
        except StoppedError:
            say(seed=seed, stopped=round(time.monotonic() - began), **(soak.figures() if soak else {}))
            return 2
        except Exception as error:
            say(seed=seed, broken=str(error), after=round(time.monotonic() - began), last=soak.last() if soak else [])
            print(stage.logs(), file=sys.stderr)
            if isinstance(error, BrokenError | WorldError):
                return 1
            raise  # the soak itself
        finally:
            stage.end_all()
        say(seed=seed, ran=round(time.monotonic() - began), **soak.figures())
    return 0


if __name__ == "__main__":
    sys.exit(main())
