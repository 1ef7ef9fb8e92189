"""Feeds: lists read, schedules kept, names resolved, the last good content never lost."""

import asyncio
import gzip
import tracemalloc
import zlib
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import dns.asyncresolver
import dns.resolver
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.feeds import FeedLimits, Feeds, Fetcher, lists
from bridge.feeds.due import next_due
from bridge.feeds.fetch import FeedContent, FeedError, FeedUnreachableError
from bridge.feeds.lists import ListError, addresses, domains
from zones.net import AddressSet, union
from zones.rules import Feed, FeedKind, Period, Recurring

URL = "https://feeds.example.com/list.txt"
IP_LIST = Feed("edl", FeedKind.IP_LIST, URL)
NOON = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)  # a Saturday


def test_a_list_of_addresses_with_comments_and_exceptions():
    text = "# head\n192.0.2.1\n198.51.100.0/24 bad people\n203.0.113.5-203.0.113.9\n2001:db8::/32#x\n\n10.0.0.1\n"
    found = addresses(text, ["10.0.0.1"], 10)
    assert union(found.valid) == AddressSet.parse(
        ["192.0.2.1", "198.51.100.0/24", "2001:db8::/32", "203.0.113.5", "203.0.113.6/31", "203.0.113.8/31"]
    )
    assert found.invalid == 0


@pytest.mark.parametrize("text", ["<html>\n<body>\nlog in\n</body>\n", "a\nb\n192.0.2.1\nc\n"])
def test_a_text_that_is_mostly_no_list_is_refused(text):
    with pytest.raises(ListError, match="no list"):
        addresses(text, [], 10)


def test_an_empty_list_is_empty_and_a_large_one_is_refused():
    assert addresses("# nothing today\n", [], 10).valid == ()
    with pytest.raises(ListError, match="more than 3"):
        addresses("\n".join(f"192.0.2.{n}" for n in range(4)), [], 3)


@pytest.mark.parametrize("line", ["no", "10.0.0.1", "192.0.2.1 # again"])
def test_a_list_of_millions_of_lines_is_given_up_early(line):
    """Each would else cost microseconds: minutes of a list's greatest size, and as much memory as the bridge has."""
    text = f"{line}\n" * 2_000_000
    tracemalloc.start()
    try:
        with pytest.raises(ListError, match="more than 4000 lines"):
            addresses(text, [], 1000)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@given(st.text(alphabet="1a.\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029 #", max_size=60))
def test_lines_end_where_they_always_did(text):
    words = [line.partition("#")[0].split(maxsplit=1)[:1] for line in text.splitlines()]
    assert [[word] for word in lists._words(text)] == [word for word in words if word]


def test_domains_and_wildcards():
    found = domains("Example.COM.\n*.example.net\nwww.example.org # x\n", [], 10)
    assert found.valid == ("example.com", "www.example.org")
    assert found.invalid == 1


@given(st.text(max_size=200))
def test_no_text_crashes_a_list(text):
    for read in (addresses, domains):
        with suppress(ListError):
            assert read(text, [], 50).invalid >= 0


@pytest.mark.parametrize(
    ("recurring", "due"),
    [
        (Recurring(Period.FIVE_MINUTE), NOON + timedelta(minutes=5)),
        (Recurring(Period.HOURLY), NOON + timedelta(hours=1)),
        (Recurring(Period.DAILY, hour=3), datetime(2026, 11, 22, 3, tzinfo=UTC)),
        (Recurring(Period.DAILY, hour=13), datetime(2026, 11, 21, 13, tzinfo=UTC)),
        (Recurring(Period.WEEKLY, hour=4, day=0), datetime(2026, 11, 23, 4, tzinfo=UTC)),
        (Recurring(Period.MONTHLY, hour=4, day=31), datetime(2026, 11, 30, 4, tzinfo=UTC)),
    ],
)
def test_lists_are_due_when_their_schedule_says(recurring, due):
    assert next_due(Feed("l", FeedKind.IP_LIST, URL, recurring), NOON) == due


def fetcher(handler=None, resolver=None, **limits):
    client = httpx.AsyncClient(transport=httpx.MockTransport(handler or (lambda _: httpx.Response(404))))
    return Fetcher(client, resolver or Resolver({}), FeedLimits(**limits))


def plain(text):
    return httpx.Response(200, stream=httpx.ByteStream(text.encode()))


def sent(packing, content):
    """A server's answer, which says how it is packed."""
    return lambda _: httpx.Response(200, headers={"Content-Encoding": packing}, stream=httpx.ByteStream(content))


def zeros(mebibytes):
    """Packed by themselves, a thousandth of that."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(mebibytes)) + packer.flush()


LIST = b"192.0.2.1\n198.51.100.0/24\n"


@pytest.mark.parametrize(
    ("packing", "content"),
    [
        ("gzip", gzip.compress(LIST, mtime=0)),
        ("deflate", zlib.compress(LIST)),
        ("GZIP", gzip.compress(LIST, mtime=0)),
        ("identity", LIST),
    ],
)
def test_a_list_may_be_packed_once(packing, content):
    found = asyncio.run(fetcher(sent(packing, content)).fetch(IP_LIST))
    assert found.space == AddressSet.parse(["192.0.2.1", "198.51.100.0/24"])


@pytest.mark.parametrize(
    ("packing", "content", "why"),
    [
        ("gzip, gzip", gzip.compress(zeros(64)), "packed as 'gzip, gzip'"),
        ("br", b"?", "packed as 'br'"),
        ("gzip", zeros(64), "larger than 33554432 bytes"),
        ("gzip", gzip.compress(LIST) + gzip.compress(LIST), "something follows"),
        ("gzip", gzip.compress(LIST)[:-9], "ends in the middle"),
        ("gzip", b"no gzip", "can't be unpacked"),
    ],
    ids=["twice", "unknown", "not packed, too large", "two members", "cut off", "not packed"],
)
def test_a_list_packed_into_next_to_nothing_fills_no_memory(packing, content, why):
    feeds = fetcher(sent(packing, content))
    tracemalloc.start()
    try:
        with pytest.raises(FeedError, match=why):
            asyncio.run(feeds.fetch(IP_LIST))
        assert tracemalloc.get_traced_memory()[1] < 120 * 2**20
    finally:
        tracemalloc.stop()


class Resolver(dns.asyncresolver.Resolver):
    """Answers from a table of name -> (ttl, addresses); a name that maps to an error raises it."""

    def __init__(self, table):
        super().__init__(configure=False)
        self.table = table

    async def resolve(self, name, kind, **_):
        found = self.table.get(name, dns.resolver.NXDOMAIN())
        if isinstance(found, Exception):
            raise found
        ttl, texts = found
        mine = [text for text in texts if (":" in text) == (kind == "AAAA")]
        if not mine:
            raise dns.resolver.NoAnswer(response=dns.message.make_response(dns.message.make_query(name, kind)))
        response = dns.message.make_response(dns.message.make_query(name, kind))
        asked = response.question[0]
        response.answer.append(dns.rrset.from_text(asked.name, ttl, "IN", kind, *mine))
        read = dns.message.from_wire(response.to_wire())
        return dns.resolver.Answer(asked.name, asked.rdtype, asked.rdclass, read)


def fetched(feed, **kwargs):
    return asyncio.run(fetcher(**kwargs).fetch(feed))


def test_a_name_is_resolved_in_both_families_and_kept_for_its_ttl():
    host = Feed("host", FeedKind.FQDN, "www.example.com")
    found = fetched(host, resolver=Resolver({"www.example.com": (120, ["192.0.2.1", "2001:db8::1"])}))
    assert found == FeedContent(AddressSet.parse(["192.0.2.1", "2001:db8::1"]), ttl=120.0)
    short = fetched(host, resolver=Resolver({"www.example.com": (1, ["192.0.2.1"])}))
    assert short.ttl == FeedLimits().least_ttl


@pytest.mark.parametrize(
    ("answer", "error"),
    [(dns.resolver.NXDOMAIN(), FeedError), (dns.resolver.LifetimeTimeout(timeout=1, errors=[]), FeedUnreachableError)],
)
def test_a_name_that_does_not_resolve_is_an_error(answer, error):
    with pytest.raises(error, match=r"www\.example\.com"):
        fetched(Feed("h", FeedKind.FQDN, "www.example.com"), resolver=Resolver({"www.example.com": answer}))


def test_a_domain_list_is_resolved_and_names_that_do_not_exist_hold_nothing():
    found = fetched(
        Feed("d", FeedKind.DOMAIN_LIST, URL),
        handler=lambda _: plain("a.example\ngone.example\n"),
        resolver=Resolver({"a.example": (600, ["192.0.2.9"])}),
    )
    assert found.space == AddressSet.parse(["192.0.2.9"])
    assert found.ttl == 600


def test_a_server_that_stumbles_is_asked_again():
    answers = iter([httpx.Response(503), plain("192.0.2.1\n")])
    assert fetched(IP_LIST, handler=lambda _: next(answers)).space == AddressSet.parse(["192.0.2.1"])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(404), "404"),
        (httpx.Response(401), "401"),
        (plain("<html>\n<p>\n"), "no list"),
        (plain("192.0.2.1\n" * 50), "larger than 100"),
    ],
)
def test_bad_answers_are_errors_that_name_the_list(answer, words):
    with pytest.raises(FeedError, match=words) as caught:
        fetched(IP_LIST, handler=lambda _: answer, size=100)
    assert URL in str(caught.value)


def loops(request):
    return httpx.Response(302, headers={"Location": str(request.url)})


@pytest.mark.parametrize(
    ("url", "handler"),
    [
        (URL, loops),
        (URL, lambda _: httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))),
        ("https://xn--/list", lambda _: httpx.Response(200)),
        ("https://host:port/list", lambda _: httpx.Response(200)),
    ],
)
def test_no_list_server_can_raise_anything_else(url, handler):
    client = httpx.AsyncClient(transport=httpx.MockTransport(handler), follow_redirects=True)
    with pytest.raises(FeedError):
        asyncio.run(Fetcher(client, Resolver({})).fetch(Feed("edl", FeedKind.IP_LIST, url)))


@pytest.mark.parametrize("way", [["http"], ["http", "https"], ["https", "http"]])
def test_a_list_that_is_to_be_had_safely_is_not_had_otherwise(way):
    """Wherever the server sends on to, at whichever step."""
    schemes = ["https", *way]

    def sends_on(request):
        at = int(request.url.path[1:] or 0)
        if at + 1 < len(schemes):
            return httpx.Response(302, headers={"Location": f"{schemes[at + 1]}://lists.example.com/{at + 1}"})
        return httpx.Response(200, stream=httpx.ByteStream(b"192.0.2.1\n"))

    client = httpx.AsyncClient(transport=httpx.MockTransport(sends_on), follow_redirects=True)
    fetcher = Fetcher(client, Resolver({}))
    with pytest.raises(FeedError, match=r"sends on to http://lists\.example\.com/"):
        asyncio.run(fetcher.fetch(Feed("edl", FeedKind.IP_LIST, "https://lists.example.com/")))
    schemes[:] = ["https", "https"]
    assert (
        "192.0.2.1/32"
        in asyncio.run(fetcher.fetch(Feed("edl", FeedKind.IP_LIST, "https://lists.example.com/"))).space.prefixes
    )


def test_a_bug_in_one_feed_ends_neither_the_others_nor_the_service():
    async def scenario():
        feeds = Feeds(Source(edl=ZeroDivisionError(), host=content("192.0.2.1")), lambda: None)
        await feeds.want([IP_LIST, Feed("host", FeedKind.FQDN, "www.example.com")])
        return feeds.contents(), feeds.troubles()

    contents, troubles = asyncio.run(scenario())
    assert set(contents) == {"host"}
    assert troubles == {"edl": "unexpected ZeroDivisionError"}


class Clock:
    def __init__(self):
        self.at = NOON

    def __call__(self):
        return self.at

    def seconds(self):
        return self.at.timestamp()


class Source:
    """Answers each feed with what is put in `answers`; errors are raised."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    async def __call__(self, feed):
        self.asked.append(feed.name)
        answer = self.answers[feed.name]
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def running(feeds):
    task = asyncio.create_task(feeds.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def content(*prefixes, ttl=None):
    return FeedContent(AddressSet.parse(prefixes), ttl)


def test_new_feeds_are_there_before_the_first_compile():
    async def scenario():
        feeds = Feeds(Source(edl=content("192.0.2.1")), lambda: None, now=Clock())
        await feeds.want([IP_LIST])
        return feeds.contents()

    assert asyncio.run(scenario()) == {"edl": AddressSet.parse(["192.0.2.1"])}


def test_a_feed_that_is_silent_does_not_hold_up_the_first_compile():
    async def silent(_):
        await asyncio.Event().wait()

    async def scenario():
        feeds = Feeds(silent, lambda: None)
        await feeds.want([IP_LIST], seconds=0.05)
        return feeds.contents()

    assert asyncio.run(scenario()) == {}


def test_the_last_good_content_outlives_a_failure_and_the_trouble_is_told():
    async def scenario():
        clock, source = Clock(), Source(edl=content("192.0.2.1"))
        feeds = Feeds(source, lambda: None, now=clock, clock=clock.seconds)
        await feeds.want([IP_LIST])
        source.answers["edl"] = FeedError("the server answers 500")
        clock.at += timedelta(hours=1)
        await feeds._refresh(IP_LIST)
        return feeds.contents(), feeds.troubles(), feeds.version

    contents, troubles, version = asyncio.run(scenario())
    assert contents == {"edl": AddressSet.parse(["192.0.2.1"])}
    assert troubles == {"edl": "the server answers 500"}
    assert version == 1


def test_a_due_feed_is_fetched_and_a_change_is_told_once():
    async def scenario():
        clock, source, told = Clock(), Source(edl=content("192.0.2.1")), asyncio.Event()
        feeds = Feeds(source, told.set, now=clock, clock=clock.seconds)
        await feeds.want([IP_LIST])
        source.answers["edl"] = content("192.0.2.2")
        clock.at += timedelta(hours=2)
        async with running(feeds), asyncio.timeout(5):
            await told.wait()
        return feeds.contents(), source.asked

    contents, asked = asyncio.run(scenario())
    assert contents == {"edl": AddressSet.parse(["192.0.2.2"])}
    assert asked == ["edl", "edl"]


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_feed_that_failed_is_asked_again_though_somebody_set_the_time(hours):
    async def scenario():
        clock, steady = Clock(), [0.0]
        source, told = Source(edl=FeedError("it is away")), asyncio.Event()
        feeds = Feeds(source, told.set, now=clock, clock=lambda: steady[0])
        await feeds.want([IP_LIST])
        source.answers["edl"] = content("192.0.2.2")
        clock.at += timedelta(hours=hours)
        steady[0] += 31.0
        async with running(feeds), asyncio.timeout(5):
            await told.wait()
        return feeds.contents(), source.asked

    contents, asked = asyncio.run(scenario())
    assert contents == {"edl": AddressSet.parse(["192.0.2.2"])}
    assert asked == ["edl", "edl"]


def test_feeds_that_no_rule_draws_on_are_let_go():
    async def scenario():
        feeds = Feeds(Source(edl=content("192.0.2.1")), lambda: None)
        await feeds.want([IP_LIST])
        await feeds.want([])
        return feeds.contents()

    assert asyncio.run(scenario()) == {}


def test_a_list_may_be_a_file_of_the_site(tmp_path):
    path = tmp_path / "known.txt"
    feed = Feed("panw-known-ip-list", FeedKind.IP_LIST, f"file://{path}", exceptions=("192.0.2.9",))
    with pytest.raises(FeedError, match=r"No such file.*feeds\.provided"):
        fetched(feed)
    path.write_text("192.0.2.0/30\n# a comment\n198.51.100.7\n")
    assert fetched(feed).space == AddressSet.parse(["192.0.2.0/30", "198.51.100.7"])
    path.write_text("x" * 2000)
    with pytest.raises(FeedError, match="larger than 1024 bytes"):
        fetched(feed, size=1024)
