import time

import pytest

from mocks.lab import Conversation, LabError, Outcome, connect
from tests.mocks.lab.traffic import CUT

pytestmark = pytest.mark.kernel


class TestConversations:
    def test_it_goes_on(self, lab, pods):
        a, _, c = pods
        talking = [lab.conversation(a, ip, 80, every=0.01) for ip in (c.ip, c.ip6)]
        assert all(heard(each, 20) and each.alive and each.died_at is None for each in talking)

    def test_it_starts_in_many_places_at_once(self, lab, pods):
        talking = [lab.conversation(s, t.ip, 80) for s in pods for t in pods if s is not t]
        assert all(heard(each, 3) for each in talking)

    @pytest.mark.parametrize("transport", ["tcp", "udp"])
    def test_a_drop_cuts_it_and_only_it(self, lab, pods, transport):
        a, b, c = pods
        lab.listen(c, 7, transport="udp")
        port = 80 if transport == "tcp" else 7
        cut, spared = (lab.conversation(s, c.ip, port, transport=transport, every=0.02) for s in (a, b))
        assert heard(cut, 3)
        at = time.monotonic()
        c.node.nft(CUT % (a.ip, c.ip, "drop"))
        assert cut.wait(alive=False)
        assert cut.died_at is not None
        assert abs(cut.died_at - at) < 1
        assert spared.alive

    def test_silence_can_end_again(self, lab, pods):
        a, _, c = pods
        talk = lab.conversation(a, c.ip, 80, every=0.02)
        c.node.nft(CUT % (a.ip, c.ip, "drop"))
        assert talk.wait(alive=False)
        c.node.nft("delete table inet cut")
        assert talk.wait(alive=True)
        assert talk.died_at is None

    def test_a_reset_ends_it_at_once(self, lab, pods):
        a, _, c = pods
        talk = lab.conversation(a, c.ip, 80, every=0.02, silence=60)
        c.node.nft(CUT % (a.ip, c.ip, "meta l4proto tcp reject with tcp reset"))
        assert talk.wait(alive=False)

    def test_a_server_that_talks_first(self, lab, pods):
        a, _, c = pods
        lab.listen(c, 2222, talk_every=0.02)
        talk = lab.conversation(a, c.ip, 2222, speak=False)
        assert heard(talk, 10)
        c.node.nft(CUT % (c.ip, a.ip, "drop"))
        assert talk.wait(alive=False)

    def test_it_says_why_it_cannot_start(self, lab, pods):
        with pytest.raises(LabError, match="no conversation"):
            lab.conversation(pods[0], pods[1].ip, 81)

    def test_closing_the_listener_ends_it(self, lab, pods):
        a, _, c = pods
        listener = lab.listen(c, 81)[0]
        talk = lab.conversation(a, c.ip, 81, silence=60)
        assert heard(talk, 1)
        listener.close()
        assert talk.wait(alive=False)
        assert connect(a, c.ip, 81) is Outcome.REFUSED


def heard(talk: Conversation, replies: int, timeout: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout
    while talk.replies < replies and time.monotonic() < deadline:
        time.sleep(0.01)
    return talk.replies >= replies
