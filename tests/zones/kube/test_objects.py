"""Lists page by page: fewer objects where they are long, an end where even one is too long, anew where a list expires."""

import asyncio

import pytest

from zones.kube.api import Reply
from zones.kube.errors import AnswerTooLongError, ClusterMissingError, ClusterUnreachableError, ExpiredError
from zones.kube.objects import Source, apply, pages, read_all

ITEM_BYTES = 1000


class ListServer:
    """Answers with objects of ITEM_BYTES each; the list expires so many times at its second page."""

    name = "c1"

    def __init__(self, sizes, expires=0):
        self.sizes, self.expires, self.limits = sizes, expires, []

    async def ask(self, method, path, doing, *, query, accept, most):
        limit, start = int(query["limit"]), int(query.get("continue", 0))
        self.limits.append(limit)
        if start and self.expires:
            self.expires -= 1
            raise ExpiredError(f"{doing}: HTTP 410")
        size = sum(self.sizes[start : start + limit])
        if size > most:
            raise AnswerTooLongError(f"{doing}: too long")
        end = start + limit
        metadata = {"resourceVersion": "7"} | ({"continue": str(end)} if end < len(self.sizes) else {})
        items = [{"number": number} for number in range(start, min(end, len(self.sizes)))]
        return Reply({"metadata": metadata, "items": items}, size)


async def all_pages(server, **more):
    return [
        page async for page in pages(server, Source("/things", "things", page=16, page_bytes=16 * ITEM_BYTES, **more))
    ]


def test_long_objects_are_asked_for_one_by_one_and_short_ones_together_again():
    server = ListServer([10 * ITEM_BYTES] * 5 + [10] * 60)
    listing = asyncio.run(all_pages(server))
    assert [item["number"] for page in listing for item in page.items] == list(range(65))
    assert [(page.first, page.last) for page in listing] == [
        (number == 0, number == len(listing) - 1) for number in range(len(listing))
    ]
    assert server.limits[:7] == [16, 2, 1, 1, 1, 1, 1]
    assert server.limits[-1] == 16


def test_one_object_that_is_too_long_is_an_error_and_not_asked_for_again():
    server = ListServer([2**26])
    with pytest.raises(AnswerTooLongError):
        asyncio.run(asyncio.wait_for(all_pages(server), 5))
    assert server.limits == [16, 2, 1]


@pytest.mark.parametrize(("expires", "good"), [(0, True), (2, True), (3, False)])
def test_a_list_that_expires_is_begun_again_so_often(expires, good):
    server = ListServer([10] * 20, expires)
    reading = read_all(server, Source("/things", "things", page=16))
    if good:
        assert len(asyncio.run(reading)) == 20
    else:
        with pytest.raises(ClusterUnreachableError, match="listing things in cluster 'c1': it expired 3 times"):
            asyncio.run(reading)


class Answering:
    name = ""

    def __init__(self, body):
        self.body = body

    async def ask(self, *_, **__):
        return Reply(self.body, 10)

    async def call(self, *_, **__):
        return self.body


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (None, ClusterMissingError),
        ({}, ClusterUnreachableError),
        ({"metadata": None}, ClusterUnreachableError),
        ({"metadata": {"continue": "x"}}, ClusterUnreachableError),
    ],
)
def test_what_is_no_list_and_no_object_is_an_error(body, error):
    with pytest.raises(error, match=r"^listing things: "):
        asyncio.run(all_pages(Answering(body)))
    with pytest.raises(error, match=r"^applying it: "):
        asyncio.run(apply(Answering(body), "/things/a", {}, "applying it", "me"))
