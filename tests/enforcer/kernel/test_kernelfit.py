"""A kernel that lacks something is told by what it lacks, and nothing is changed by asking."""

import pytest

from enforcer.errors import KernelError, LockedError, PrivilegeError, UnfitError
from enforcer.kernel.reconcile import AppliedAction
from enforcer.netlink import sockets
from enforcer.netlink.messages import RawRule, expression
from enforcer.netlink.sockets import NodeLock
from enforcer.node.feature_probe import FEATURES, missing_features
from enforcer.rules.table import Chain, Table
from tests.enforcer.test_enforcement import BOTH_WAYS, policy
from tests.enforcer.world import NOW

FROM_THE_FUTURE = Table("zonebridge-trial", {}, {"trial": Chain(raw=(RawRule((expression("tomorrow"),), ""),))})


@pytest.mark.kernel
class TestKernel:
    def test_this_one_has_everything_and_isnt_changed_by_being_asked(self, world):
        with world.inside():
            before = sockets.generation()
            assert missing_features() == ""
            assert sockets.generation() == before
            assert "trial" not in world.n1.run(["nft", "list", "tables"]).stdout

    def test_what_is_missing_is_named(self, world):
        with world.inside():
            told = missing_features({**FEATURES, "tomorrow's rules": FROM_THE_FUTURE})
        assert "lacks of nftables: tomorrow's rules; the rules need Linux" in told

    def test_a_load_that_is_refused_says_what_the_kernel_lacks(self, world, monkeypatch):
        inventory = world.inventory(world.pod("p0", "web"), world.pod("p2", "data"))
        with world.reconciler() as reconciler:
            reconciler.apply(policy(), inventory, NOW, revision=1)
            monkeypatch.setattr(
                "enforcer.kernel.reconcile.feature_probe.missing_features",
                lambda: missing_features({"tomorrow": FROM_THE_FUTURE}),
            )
            monkeypatch.setattr("enforcer.kernel.transaction.NFT_MSG_NEWCHAIN", 99)
            applied = reconciler.apply(policy(*BOTH_WAYS), inventory, NOW, revision=2)
            assert (applied.revision, applied.action) == (1, AppliedAction.NONE)
            assert "lacks of nftables: tomorrow" in applied.problems[1]


class TestWithout:
    def test_nftables(self, monkeypatch):
        def missing(_):
            raise KernelError("asking for the generation of the tables: Invalid argument")

        monkeypatch.setattr("enforcer.node.feature_probe.Nftables.generation", missing)
        assert "lacks of nftables: nftables itself (nf_tables)" in missing_features()

    def test_rights_nothing_is_said_of_the_kernel(self, monkeypatch):
        def refused(_):
            raise PrivilegeError("not permitted")

        monkeypatch.setattr("enforcer.node.feature_probe.Nftables.generation", refused)
        assert missing_features() == ""

    def test_nflog_that_is_said_and_no_other_agent_suspected(self, monkeypatch):
        monkeypatch.setattr("enforcer.netlink.sockets._errors", lambda _: iter([22]))
        with pytest.raises(UnfitError, match="nfnetlink_log") as caught:
            NodeLock()
        assert not isinstance(caught.value, LockedError)
