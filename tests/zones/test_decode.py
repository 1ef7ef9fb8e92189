"""Raw Kubernetes JSON to what enforcement needs: what a node alone vouches for."""

import pytest

from zones import decode


def raw(annotations=None, **spec):
    return {
        "metadata": {"name": "coredns", "namespace": "kube-system", "uid": "u", "annotations": annotations},
        "spec": {"nodeName": "n1", **spec},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.244.1.9"}, {"ip": "fd00::9"}]},
    }


MIRROR = {"kubernetes.io/config.mirror": "checksum"}


def test_a_static_pod_that_is_not_on_its_nodes_network_counts_for_nothing():
    told = decode.pod(raw(MIRROR))
    assert not told.item.addresses
    (problem,) = told.problems
    assert problem.startswith("pod kube-system/coredns: a static pod that isn't on its node's own network")


@pytest.mark.parametrize("pod", [raw(), raw({}), raw(MIRROR, hostNetwork=True)])
def test_every_other_pod_keeps_its_addresses(pod):
    assert len(decode.pod(pod).item.addresses) == 2
    assert not decode.pod(pod).problems
