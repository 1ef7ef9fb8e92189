"""Objects kept what they should be, whoever else writes and however late answers and events come."""

import asyncio
import copy

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.population.mirror import Mirror
from zones.kube.errors import ClusterRefusedError, ClusterUnreachableError
from zones.kube.watch import Changed, Listed

NAMES = "ab"


class Server:
    """Takes effect at once, and answers when it is told to; its events wait until they are fetched."""

    def __init__(self):
        self.held, self.events, self.version = {}, [], 0
        self.answering = asyncio.Event()
        self.trouble = None

    def put(self, name, spec=None, status=None):
        before = self.held.get(name, {"metadata": {"name": name}})
        after = before | ({} if spec is None else {"spec": spec}) | ({} if status is None else {"status": status})
        if name not in self.held or after != before:
            self.version += 1
            after["metadata"] = {"name": name, "resourceVersion": str(self.version)}
            self.held[name] = after
            self.events.append(Changed(after))
        return copy.deepcopy(self.held[name])

    def remove(self, name):
        raw = self.held.pop(name, None)
        if raw is not None:
            self.version += 1
            raw = raw | {"metadata": {"name": name, "resourceVersion": str(self.version)}}
            self.events.append(Changed(raw, gone=True))

    async def apply(self, wanted):
        return await self._answer(self.put(wanted["metadata"]["name"], spec=wanted["spec"]))

    async def apply_status(self, wanted):
        if wanted["metadata"]["name"] not in self.held:
            raise ClusterRefusedError("writing the status of Thing: there is none")
        return await self._answer(self.put(wanted["metadata"]["name"], status=wanted["status"]))

    async def delete(self, part):
        await self._answer(self.remove(part.name))

    async def _answer(self, value):
        await self.answering.wait()
        if self.trouble is not None:
            raise self.trouble
        return value


def wish(name, number):
    return {"metadata": {"name": name}, "spec": {"number": number}, "status": {"count": number}}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.sampled_from(NAMES), st.none() | st.integers(0, 2)),
        st.tuples(st.just("foreign"), st.sampled_from(NAMES), st.none() | st.integers(0, 2)),
        st.tuples(st.just("write")),
        st.tuples(st.just("answer")),
        st.tuples(st.just("event")),
        st.tuples(st.just("list")),
    ),
    max_size=30,
)


@settings(max_examples=500)
@given(steps)
def test_in_the_end_everything_is_as_wanted(script):
    with structlog.testing.capture_logs():
        asyncio.run(play(script))


async def play(script):
    server, wanted, writing = Server(), {}, []
    mirror = Mirror("Thing", server, lambda name: wish(name, wanted[name]) if wanted.get(name) is not None else None)
    for step in script:
        if step[0] == "want":
            wanted[step[1]] = step[2]
            mirror.touch(step[1])
        elif step == ("write",) and not (writing and not writing[-1].done()):
            server.answering.clear()
            writing.append(asyncio.create_task(mirror.write()))
        else:
            happens(step, server, mirror)
        for _ in range(3):
            await asyncio.sleep(0)
    server.answering.set()
    await asyncio.gather(*writing)
    while server.events or mirror.dirty:
        for event in server.events:
            mirror.saw(event)
        server.events.clear()
        await mirror.write()
    found = {name: (raw["spec"], raw["status"]) for name, raw in server.held.items()}
    assert found == {n: ({"number": w}, {"count": w}) for n, w in wanted.items() if w is not None}
    before = server.version
    mirror.touch(*NAMES)
    await mirror.write()
    assert server.version == before


def happens(step, server, mirror):
    match step:
        case "foreign", name, None:
            server.remove(name)
        case "foreign", name, number:
            server.put(name, {"number": number}, {"count": 9})
        case ("answer",):
            server.answering.set()
        case ("event",) if server.events:
            mirror.saw(server.events.pop(0))
        case ("list",):
            server.events.clear()
            mirror.saw(Listed(copy.deepcopy(list(server.held.values()))))


def test_one_that_is_refused_stands_aside_until_it_is_tried_again():
    async def run():
        server = Server()
        server.answering.set()
        mirror = Mirror("Thing", server, lambda name: wish(name, 1))
        mirror.touch("a")
        server.trouble = ClusterRefusedError("applying Thing 'a': 422")
        with structlog.testing.capture_logs() as logs:
            await mirror.write()
        assert [entry["error"] for entry in logs] == ["applying Thing 'a': 422"]
        assert not mirror.dirty
        server.trouble = None
        mirror.retry()
        await mirror.write()
        assert mirror.take_writes() == 2

    asyncio.run(run())


def test_an_api_server_that_is_away_is_the_callers_matter():
    async def run():
        server = Server()
        server.answering.set()
        mirror = Mirror("Thing", server, lambda name: wish(name, 1))
        mirror.touch("a", "b")
        server.trouble = ClusterUnreachableError("applying Thing: no answer")
        with structlog.testing.capture_logs(), pytest.raises(ClusterUnreachableError):
            await mirror.write()
        assert mirror.dirty

    asyncio.run(run())
