"""What a receiver has confirmed, and nothing else, is believed to have arrived: mixed answers, balancers, no answers."""

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.shipping.delivery import Delivery
from enforcer.shipping.outbox import Outbox
from enforcer.shipping.spool import Spool
from enforcer.status import problems
from mocks.siem import HecServer, Token
from mocks.siem.acks import Acks as IssuedAcks
from tests.enforcer.balancer import Balancer
from tests.enforcer.shipping.test_delivery import SECRET, delivering, eventually, records
from zones.runtime.backoff import Backoff
from zones.siem.destinations import HecSettings
from zones.siem.outcome import Accepted, Arrival, Delivered, Gone, Hold, Refused, Retry
from zones.siem.transports.acks import Acks


class Scripted:
    """A receiver that answers each batch as it is told, and confirms what it is told to."""

    in_flight, patience, arrival = 8, 0.2, Arrival.INDEXED

    def __init__(self, *answers):
        self.answers = list(answers)
        self.confirms = set()
        self.batches = []

    async def send(self, payloads):
        self.batches.append([json.loads(payload)["sequence"] for payload in payloads])
        return len(payloads), self.answers.pop(0) if self.answers else Retry("away")

    async def confirmed(self, receipts):
        return self.confirms & set(receipts), None

    async def probe(self):
        return ""

    async def close(self):
        pass


@asynccontextmanager
async def scripted(directory, sender, monkeypatch, **more):
    monkeypatch.setattr(Delivery, "ask_seconds", 0.01)
    outbox = Outbox(Spool.open(directory / "spool", ["siem"], 1 << 26, 1 << 20), sync_seconds=0.05)
    aside = directory / "refused.jsonl"
    delivery = Delivery("siem", outbox, sender, aside, batch=10, backoff=Backoff(0.01, 0.05), **more)
    tasks = [asyncio.create_task(outbox.write()), asyncio.create_task(delivery.deliver())]
    try:
        yield outbox, delivery
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await outbox.close()


@pytest.mark.parametrize(
    ("second", "there"),
    [
        (Delivered(), set(range(10, 20))),
        (Delivered(refused={3: "bad"}), set(range(10, 20))),
        (Refused(4, "bad"), set(range(10, 15))),
        (Hold("no right", arrived=5), set(range(10, 15))),
    ],
)
def test_no_answer_to_a_later_batch_confirms_an_earlier_one(tmp_path, monkeypatch, second, there):
    """A collector answered one batch with an ackId and the next without; the first was never indexed."""
    sender = Scripted(Accepted(1), second)

    async def run():
        async with scripted(tmp_path, sender, monkeypatch) as (outbox, delivery):
            outbox.put(records(0, 20))
            await eventually(lambda: sender.batches.count(list(range(10))) >= 3)  # again, and more than once
            assert outbox.backlog("siem") == 20
            assert sender.batches[1] == list(range(10, 20))
            assert not there & {number for batch in sender.batches[2:] for number in batch}
            assert delivery.progress.sent + delivery.progress.refused == len(there)

    asyncio.run(run())


def test_what_was_answered_at_once_counts_when_what_came_before_is_confirmed(tmp_path, monkeypatch):
    sender = Scripted(Accepted(1), Delivered())

    async def run():
        async with scripted(tmp_path, sender, monkeypatch) as (outbox, delivery):
            outbox.put(records(0, 20))
            await eventually(lambda: len(sender.batches) == 2)
            assert (outbox.backlog("siem"), delivery.progress.sent) == (20, 0)
            sender.confirms = {1}
            await eventually(lambda: outbox.backlog("siem") == 0)
            assert delivery.progress.sent == 20

    asyncio.run(run())


@pytest.mark.parametrize("answer", [Accepted(7), Gone("the connection is gone")])
def test_what_is_sent_again_and_again_is_an_alert_and_seldom(tmp_path, monkeypatch, answer):
    sender = Scripted(*[answer] * 100)
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)
        await asyncio.sleep(0.01)

    async def run():
        async with scripted(tmp_path, sender, monkeypatch, pause=pause) as (outbox, delivery):
            delivery.backoff = Backoff(1.0, 60.0)
            outbox.put(records(0, 10))
            await eventually(lambda: delivery.progress.on_hold)
            assert "none of them is known to have arrived" in delivery.progress.trouble
            (condition,) = problems.of_destinations([delivery.progress])
            assert condition.kind == "destination-trouble"
            await eventually(lambda: len(pauses) >= 7)
            assert pauses[6] > 20
            sender.answers = [Delivered()]
            await eventually(lambda: outbox.backlog("siem") == 0)
            assert (delivery.progress.on_hold, delivery.progress.trouble, delivery.progress.sent) == (False, "", 10)

    asyncio.run(run())


def test_a_destination_that_takes_nothing_for_long_is_an_alert_too(tmp_path, monkeypatch):
    async def run():
        async with scripted(tmp_path, Scripted(), monkeypatch) as (outbox, delivery):
            outbox.put(records(0, 1))
            await eventually(lambda: delivery.progress.trouble)
            since = delivery.progress.since
            assert list(problems.of_destinations([delivery.progress], since + 299, 300)) == []
            (condition,) = problems.of_destinations([delivery.progress], since + 301, 300)
            assert "has taken nothing for more than 300 s" in condition.message

    asyncio.run(run())


def balanced(directory, *, sticky=False, loses=0, once=False, many=400):
    """Two collectors behind a balancer: what each record came to, and the delivery's progress."""
    servers = [HecServer(Token(SECRET, use_ack=True), tls=False, ack_delay=0.1).start() for _ in range(2)]
    if loses:
        servers[0].lose(times=loses)

    async def run():
        async with Balancer(servers, sticky).serving() as balancer:
            settings = HecSettings(
                type="hec", name="siem", url=balancer.url, token_env="TOKEN", timeout_seconds=2, acknowledge=True
            )
            async with delivering(directory, settings, batch=20) as (outbox, delivery):
                outbox.put(records(0, many))
                await eventually(lambda: outbox.written == many and outbox.backlog("siem") == 0)
                return delivery.progress, balancer.seen

    try:
        progress, seen = asyncio.run(run())
    finally:
        for server in servers:
            server.stop()
    return Counter(event.event["sequence"] for server in servers for event in server.events), progress, seen


def test_a_balancer_that_keeps_to_one_indexer_by_a_cookie_costs_nothing(tmp_path):
    indexed, progress, seen = balanced(tmp_path, sticky=True)
    assert indexed == Counter(range(400))
    assert progress.sent == 400
    assert len({number for number, _ in seen}) == 1


@pytest.mark.parametrize("loses", [0, 3])
def test_a_balancer_that_spreads_requests_loses_nothing_and_repeats_little(tmp_path, loses):
    indexed, progress, _ = balanced(tmp_path, loses=loses)
    assert indexed.keys() == set(range(400))
    assert sum(indexed.values()) <= 400 + 20 * (loses + 5), "what was lost, and two batches each time that it was seen"
    assert progress.sent == 400


def test_a_number_that_is_asked_for_twice_and_confirmed_twice_is_no_proof(tmp_path, monkeypatch):
    """Collectors that answer each number once however often it stands in a query."""
    plain = IssuedAcks.answer
    monkeypatch.setattr(
        IssuedAcks,
        "answer",
        lambda self, channel, numbers, now: plain(self, channel, list(dict.fromkeys(numbers)), now),
    )
    indexed, _, _ = balanced(tmp_path, loses=3)
    assert indexed.keys() == set(range(400))


def test_a_number_that_does_not_rise_voids_the_channel():
    acks = Acks()
    first = acks.channel
    assert acks.next_channel() == first
    assert acks.took(0, 0.0) is not None
    assert acks.took(0, 1.0) is None
    assert not acks.spread
    assert acks.next_channel() != first
    assert acks.to_ask([0]) == []


def test_an_indexer_that_restarts_once_a_day_is_no_balancer():
    acks = Acks()
    for day in range(5):
        for number in range(10):
            acks.took(number, day * 86_400.0 + number)
    assert not acks.spread


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60))
def test_whichever_indexer_takes_a_batch_its_number_is_never_asked_of_another_s_channel(chosen):
    """Each receipt's channel is known to the indexer that gave it, and its number there is that batch's."""
    acks = Acks()
    issued = [{} for _ in range(3)]
    owner = {}
    for at, indexer in enumerate(chosen):
        channel = acks.next_channel()
        number = issued[indexer].get(channel, 0)
        issued[indexer][channel] = number + 1
        receipt = acks.took(number, float(at))
        if receipt is None:
            owner.clear()
        else:
            owner[receipt] = (indexer, channel, number)
        for channel, numbers in acks.to_ask(list(owner)):
            for ack_id, receipt in numbers.items():
                mine = owner[receipt]
                assert mine[1:] == (channel, ack_id)
                others = [each for each in range(3) if each != mine[0] and issued[each].get(channel, 0) > ack_id]
                assert others == []
