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


@pytest.mark.parametrize(
    ("text", "started"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        (None, None),
        ("yesterday", None),
        ("0001-01-01T00:00:00", None),
        ("99999-01-01T00:00:00Z", None),
        (5, None),
    ],
)
def test_when_a_pod_was_taken_on_is_known_where_its_status_says_a_time(text, started):
    status = {"phase": "Running", "startTime": text}
    made = decode.pod({"metadata": {"name": "a", "namespace": "x", "uid": "1"}, "status": status})
    assert (made.item.started, made.problems) == (started, ())
