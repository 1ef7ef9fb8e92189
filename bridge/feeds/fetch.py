"""The one door to the DNS and to the servers of external lists. It keeps nothing; `keeper` does."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.resolver
import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from bridge.feeds import lists
from zones.net import AddressSet, union
from zones.rules import Feed, FeedKind
from zones.runtime.backoff import Backoff
from zones.runtime.sockets import watched

AT_ONCE = 20
_GZIP, _GZIP_OR_ZLIB = frozenset({"gzip", "x-gzip", "deflate"}), 47
FILE = "file://"


class FeedError(Exception):
    """A feed has no new content. The message says what was asked, of whom, and what came."""


class FeedUnreachableError(FeedError):
    """No answer, or one that says 'later': worth another try."""


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """`size` in bytes of a list, `entries` of a list, `names` of a domain list, `timeout` in seconds.

    A resolved name is kept for its TTL, but not less than `least_ttl` and not more than `most_ttl` seconds.
    """

    size: int = 32 * 2**20
    entries: int = 150_000
    names: int = 1_000
    timeout: float = 10.0
    least_ttl: float = 30.0
    most_ttl: float = 3600.0


@dataclass(frozen=True, slots=True)
class FeedContent:
    """What a feed holds now. `ttl`: seconds it is good for, None where its schedule says; `notes` is for people."""

    space: AddressSet
    ttl: float | None = None
    notes: tuple[str, ...] = ()


class Fetcher:
    """Resolves and fetches. `resolver` and `client` are given, so that a site or a test can name its own."""

    def __init__(
        self, client: httpx.AsyncClient, resolver: dns.asyncresolver.Resolver, limits: FeedLimits | None = None
    ) -> None:
        self._client = client
        self._resolver = resolver
        self._limits = limits or FeedLimits()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def fetch(self, feed: Feed) -> FeedContent:
        """The feed's content now. Raises FeedError."""
        if feed.kind is FeedKind.FQDN:
            return await self._resolve(feed.location)
        text = await self._text(feed)
        try:
            if feed.kind is FeedKind.IP_LIST:
                most = self._limits.entries
                return await asyncio.to_thread(lambda: self._ip_list(lists.addresses(text, feed.exceptions, most)))
            names = await asyncio.to_thread(lists.domains, text, feed.exceptions, self._limits.names)
            return await self._domain_list(names)
        except lists.ListError as error:
            raise FeedError(f"reading the list '{feed.name}' of {feed.location}: {error}") from error

    def _ip_list(self, entries: lists.Entries[AddressSet]) -> FeedContent:
        return FeedContent(union(entries.valid), notes=_invalid(entries.invalid))

    async def _domain_list(self, entries: lists.Entries[str]) -> FeedContent:
        """Names that don't exist hold nothing; one that can't be asked for leaves the whole list as it was."""
        contents = await asyncio.gather(*(self._resolve(name, missing_is_nothing=True) for name in entries.valid))
        ttl = min((content.ttl for content in contents if content.ttl), default=None)
        return FeedContent(union(content.space for content in contents), ttl, _invalid(entries.invalid))

    async def _resolve(self, name: str, *, missing_is_nothing: bool = False) -> FeedContent:
        async with self._slots:
            answers = await asyncio.gather(*(self._ask(name, kind) for kind in ("A", "AAAA")))
        answered = [answer for answer in answers if answer is not None]
        if not answered and not missing_is_nothing:
            raise FeedError(f"resolving {name}: the DNS has no address of that name")
        space = AddressSet.of(ip_network(record.address) for answer in answered for record in answer)
        return FeedContent(space, self._ttl(answer.rrset.ttl for answer in answered if answer.rrset is not None))

    def _ttl(self, ttls: Iterable[int]) -> float:
        least = min(ttls, default=int(self._limits.most_ttl))
        return min(max(float(least), self._limits.least_ttl), self._limits.most_ttl)

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer | None:
        try:
            return await self._resolver.resolve(name, kind, lifetime=self._limits.timeout, search=False)
        except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
            return None
        except (dns.exception.DNSException, OSError) as error:
            raise FeedUnreachableError(f"resolving {name}: {error}; it is tried again") from error

    async def _text(self, feed: Feed) -> str:
        if feed.location.startswith(FILE):
            return await asyncio.to_thread(self._read, Path(feed.location.removeprefix(FILE)))
        async for attempt in AsyncRetrying(
            stop=stop_after_attempt(3),
            wait=Backoff(0.2, 3.0),
            retry=retry_if_exception_type(FeedUnreachableError),
            reraise=True,
        ):
            with attempt:
                return await self._get(feed.location)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _read(self, path: Path) -> str:
        """A list that the site keeps as a file."""
        doing = f"reading the list {path}"
        try:
            with path.open("rb") as file:
                text = file.read(self._limits.size + 1)
        except OSError as error:
            raise FeedError(f"{doing}: {error.strerror}; check feeds.provided") from error
        if len(text) > self._limits.size:
            raise FeedError(f"{doing}: it is larger than {self._limits.size} bytes")
        return text.decode("utf-8", "replace")

    async def _get(self, url: str) -> str:
        doing = f"fetching the list {url}"
        try:
            plainly, seen = {"Accept-Encoding": "gzip"}, {"trace": watched}
            asked = self._client.stream("GET", url, headers=plainly, extensions=seen)
            async with asyncio.timeout(self._limits.timeout * 6), asked as answer:
                way = [response.url for response in (*answer.history, answer)]
                if way[0].scheme == "https" and (
                    plain := [str(response) for response in way if response.scheme != "https"]
                ):
                    raise FeedError(
                        f"{doing}: the server sends on to {plain[0][:200]}, where anybody may change what it says; "
                        "have it answer by https, or say http:// in Panorama"
                    )
                if answer.status_code >= 500 or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:  # noqa: PLR2004
                    raise FeedUnreachableError(f"{doing}: the server answers {answer.status_code}; it is tried again")
                if answer.status_code != httpx.codes.OK:
                    raise FeedError(f"{doing}: the server answers {answer.status_code}; check the list in Panorama")
                return (await self._body(answer, doing)).decode("utf-8", "replace")
        except (httpx.TransportError, TimeoutError) as error:
            raise FeedUnreachableError(f"{doing}: {type(error).__name__}: {error}; it is tried again") from error
        except (httpx.RequestError, httpx.InvalidURL, UnicodeError) as error:
            raise FeedError(f"{doing}: {type(error).__name__}: {error}; check the list in Panorama") from error

    async def _body(self, answer: httpx.Response, doing: str) -> bytes:
        """As sent, or packed once; unpacked as far as a list may be long, since a few octets can hold gigabytes."""
        packing = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if packing not in {"", "identity", *_GZIP}:
            raise FeedError(
                f"{doing}: it is packed as '{packing[:40]}'; have it sent as it is, or packed once with gzip"
            )
        unpacker, body = zlib.decompressobj(_GZIP_OR_ZLIB) if packing in _GZIP else None, bytearray()
        async for chunk in answer.aiter_raw():
            room = self._limits.size + 1 - len(body)
            body += chunk if unpacker is None else _unpacked(unpacker, chunk, room, doing)
            if len(body) > self._limits.size:
                raise FeedError(f"{doing}: it is larger than {self._limits.size} bytes")
        if unpacker is not None and not unpacker.eof:
            raise FeedUnreachableError(f"{doing}: it ends in the middle; it is tried again")
        if unpacker is not None and unpacker.unused_data:  # entries that would be missing in what is denied
            raise FeedError(f"{doing}: something follows its packed part; have it packed once, or sent as it is")
        return bytes(body)


def _unpacked(unpacker: zlib._Decompress, chunk: bytes, room: int, doing: str) -> bytes:
    try:
        return unpacker.decompress(chunk, room)
    except zlib.error as error:
        raise FeedError(f"{doing}: it can't be unpacked: {error}; check the list's server") from error


def _invalid(count: int) -> tuple[str, ...]:
    return (f"{count} lines are no entries and were passed over",) if count else ()
