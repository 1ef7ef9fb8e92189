"""Arguments of control-plane programs: how they are written, and when they alone don't say it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.posture import decode
from bridge.posture.check import CheckResult
from bridge.posture.checks import control_plane
from tests.bridge.posture.cases import ARGUMENTS, BAD, CONTROL_PLANE, WRONG, made, static_pod
from tests.bridge.posture.test_checks import named, outcomes, snapshot

NODE = made("Node", "n1", labels={"node-role.kubernetes.io/control-plane": ""})
IDS = [check.id for check in control_plane.CHECKS]


def seen(*pods, nodes=(NODE,)):
    return outcomes(snapshot(*pods, *nodes))


def without(program):
    return [each for each in CONTROL_PLANE if each["metadata"]["labels"]["component"] != program]


def test_hardened_arguments_pass_all():
    after = seen(*CONTROL_PLANE)
    assert {name: after[name].why for name in IDS if after[name].result is not CheckResult.PASS} == {}


def test_each_wrong_argument_fails_its_check():
    for program, cases in WRONG.items():
        for name, changed in cases.items():
            check = f"{program.removeprefix('kube-').replace('apiserver', 'api-server')}-{name}"
            assert named(snapshot(*without(program), static_pod(program, **changed), NODE), check) == [
                f"Pod kube-system/{program}-n1"
            ], check
    assert set(IDS) <= set(BAD)


@given(st.sampled_from(sorted(ARGUMENTS)), st.data())
def test_both_ways_to_write_an_argument_are_the_same(program, data):
    listed = [
        [f"--{key}={value}"] if data.draw(st.booleans()) else [f"--{key}", value]
        for key, value in ARGUMENTS[program].items()
    ]
    words = [program, *(word for words in data.draw(st.permutations(listed)) for word in words)]
    flags = decode.pod(static_pod(program, words=words)).program.flags
    assert {key: values[0] for key, values in flags.items()} == ARGUMENTS[program]


def test_a_switch_without_a_value_is_true_and_the_last_one_counts():
    words = ["etcd", "--client-cert-auth=false", "--client-cert-auth", "--auto-tls", "--peer-client-cert-auth=true"]
    after = seen(*without("etcd"), static_pod("etcd", words=words))
    assert after["etcd-clients"].result is CheckResult.PASS
    assert after["etcd-no-self-signed"].result is CheckResult.FAIL


def test_lists_that_are_given_twice_are_one_list():
    words = [
        "kube-apiserver",
        "--enable-admission-plugins=NodeRestriction",
        "--enable-admission-plugins=EventRateLimit",
    ]
    after = seen(*without("kube-apiserver"), static_pod("kube-apiserver", words=words))
    assert after["api-server-node-admission"].result is CheckResult.PASS
    assert after["api-server-event-limit"].result is CheckResult.PASS


@pytest.mark.parametrize(
    ("program", "changed", "check"),
    [
        ("kube-apiserver", {"anonymous_auth": None, "authentication_config": "/a.yaml"}, "api-server-anonymous"),
        (
            "kube-apiserver",
            {"authorization_mode": None, "authorization_config": "/a.yaml"},
            "api-server-no-always-allow",
        ),
        ("kube-apiserver", {"authorization_mode": None, "authorization_config": "/a.yaml"}, "api-server-rbac"),
        ("kube-scheduler", {"profiling": None, "config": "/s.yaml"}, "scheduler-profiling"),
        ("etcd", {"config_file": "/e.yaml"}, "etcd-clients"),
        ("etcd", {"config_file": "/e.yaml"}, "etcd-own-authority"),
    ],
)
def test_what_a_file_of_the_node_says_isnt_known(program, changed, check):
    after = seen(*without(program), static_pod(program, **changed))
    assert after[check].result is CheckResult.UNKNOWN
    assert "names a file that says it" in after[check].why


def test_etcd_reads_its_environment():
    pod = static_pod("etcd", client_cert_auth=None, environment={"ETCD_CLIENT_CERT_AUTH": "true"})
    assert seen(*without("etcd"), pod)["etcd-clients"].result is CheckResult.PASS


def test_a_program_behind_a_shell_isnt_known():
    pod = static_pod("kube-apiserver", words=["/bin/sh", "-c", "kube-apiserver --anonymous-auth=false"])
    after = seen(*without("kube-apiserver"), pod)
    assert after["api-server-anonymous"].result is CheckResult.UNKNOWN
    assert "does not begin with kube-apiserver" in after["api-server-anonymous"].why


def test_a_node_of_the_control_plane_that_isnt_seen_leaves_it_unknown():
    other = made("Node", "n2", labels={"node-role.kubernetes.io/control-plane": ""})
    after = seen(*CONTROL_PLANE, nodes=(NODE, other))
    assert after["api-server-rbac"].result is CheckResult.UNKNOWN
    assert "kube-apiserver of n2 is not visible" in after["api-server-rbac"].why
    both = seen(*CONTROL_PLANE, static_pod("kube-apiserver", node="n2", authorization_mode="Node"), nodes=(NODE, other))
    assert both["api-server-rbac"].result is CheckResult.FAIL


def test_a_managed_control_plane_is_its_providers():
    managed = made("Node", "ip-10-0-0-1", labels={"eks.amazonaws.com/nodegroup": "a"})
    after = seen(nodes=(managed,))
    assert {after[name].result for name in IDS} == {CheckResult.NOT_APPLICABLE}
    assert "Amazon EKS runs it" in after["api-server-rbac"].why


def test_a_control_plane_that_runs_in_another_way_is_unknown():
    after = seen(nodes=(NODE,))
    assert {after[name].result for name in IDS} == {CheckResult.UNKNOWN}


def test_an_etcd_outside_is_unknown():
    pod = static_pod("kube-apiserver", etcd_servers="https://10.0.0.9:2379")
    after = seen(
        *[each for each in without("etcd") if each["metadata"]["labels"]["component"] != "kube-apiserver"], pod
    )
    assert after["etcd-clients"].result is CheckResult.UNKNOWN
    assert "outside of the cluster" in after["etcd-clients"].why


def test_an_authority_without_another_to_compare_it_with_isnt_known():
    assert seen(*without("kube-apiserver"))["etcd-own-authority"].result is CheckResult.UNKNOWN


def test_a_pod_that_only_looks_like_one_is_none():
    """Whoever may make pods in kube-system without being a kubelet."""
    pod = static_pod("kube-apiserver")
    del pod["metadata"]["annotations"]
    assert decode.pod(pod).program is None
