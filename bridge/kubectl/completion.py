"""What a shell may put for a word: `kubectl_complete-zonebridge`, in the form that kubectl's own completion reads.

One candidate a line, a tab before its description, and last a line with what the shell shall do (4: no file names).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence

from bridge.kubectl.kubectl import Kubectl, KubectlProxy
from bridge.kubectl.options import KUBECTL, NAMESPACE, Command, chosen, names_of
from bridge.quarantine.client import QuarantineClient
from zones.runtime.errors import ZonebridgeError

NO_FILES = ":4"
_KUBECTL_NAMES = frozenset(name for option in KUBECTL for name in option.names)


def completed(root: Command, words: Sequence[str]) -> list[str]:
    """The lines for the last of the words, which is incomplete and may be empty. What can't be found is left out."""
    *before, last = words or [""]
    try:
        candidates = list(_candidates(root, before, last))
    except ZonebridgeError:
        candidates = []
    return [*(candidate for candidate in candidates if candidate.startswith(last)), NO_FILES]


def _candidates(root: Command, before: Sequence[str], last: str) -> Iterator[str]:
    command, arguments = chosen(root, before)
    option = next((item for item in command.options if before and before[-1] in item.names and item.takes_value), None)
    if option is not None:
        yield from _words(option.values, before, "")
    elif last.startswith("-"):
        for name, text in names_of(command.options):
            yield f"{name}\t{text}"
    elif command.commands:
        for item in command.commands:
            yield f"{item.name}\t{item.help}"
    elif len(arguments) < len(command.arguments) or any(how.get("nargs") for _, how in command.arguments):
        yield from _words(command.words, before, last)


def _words(values: tuple[str, ...] | str, before: Sequence[str], last: str) -> Iterator[str]:
    if not isinstance(values, str):
        yield from values
        return
    kubectl = Kubectl([f"{name}={value}" for name, value in _given(before) if name in _KUBECTL_NAMES])
    if values == "contexts":
        yield from kubectl.words("config", "get-contexts", "--output=name")
        return
    options = dict(_given(before))
    namespace = next((options[name] for name in NAMESPACE.names if name in options), "") or kubectl.namespace()
    with KubectlProxy(kubectl) as proxy:
        yield from asyncio.run(_FINDERS[values](proxy, namespace, last))


def _given(before: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options with their values, whether written as one word or as two."""
    for at, word in enumerate(before):
        name, equals, value = word.partition("=")
        if name.startswith("-"):
            yield name, value if equals else before[at + 1] if at + 1 < len(before) else ""


async def _namespaces(proxy: KubectlProxy, _namespace: str, _last: str) -> list[str]:
    return await _names(proxy, "/api/v1/namespaces")


async def _pods(proxy: KubectlProxy, namespace: str, last: str) -> list[str]:
    """As they are begun: with a kind, with a namespace, or by their name alone."""
    kind = "pod/" if last.startswith("pod/") else ""
    before, slash, _ = last.removeprefix(kind).partition("/")
    names = await _names(proxy, f"/api/v1/namespaces/{before if slash else namespace}/pods")
    return [f"{kind}{before + slash if slash else ''}{name}" for name in names]


async def _subjects(proxy: KubectlProxy, namespace: str, last: str) -> list[str]:
    return await _pods(proxy, namespace, last if last.startswith("pod/") else "pod/")


async def _quarantines(proxy: KubectlProxy, _namespace: str, _last: str) -> list[str]:
    return [quarantine.name for quarantine in await QuarantineClient(proxy).all()]


async def _names(proxy: KubectlProxy, path: str) -> list[str]:
    answer = await proxy.get(path, "names", {"limit": "500"}) or {}
    return [item["metadata"]["name"] for item in answer.get("items") or ()]


_FINDERS: dict[str, Callable[[KubectlProxy, str, str], Coroutine[None, None, list[str]]]] = {
    "namespaces": _namespaces,
    "pods": _pods,
    "subjects": _subjects,
    "quarantines": _quarantines,
}
