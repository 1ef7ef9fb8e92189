"""The real API server itself: it serves, validates, admits, refuses, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from kubernetes import client, config

from tests.realkube import Binaries, RealKube, RealKubeError, version

pytestmark = pytest.mark.apiserver

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.test.example}
spec:
  group: test.example
  scope: Cluster
  names: {plural: things, singular: thing, kind: Thing}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {low: {type: integer}, high: {type: integer}}
              x-kubernetes-validations: [{rule: self.low < self.high, message: low must be below high}]
"""
THING = "{apiVersion: test.example/v1, kind: Thing, metadata: {name: NAME}, spec: {low: LOW, high: 5}}"
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-secrets-named-x}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  validations: [{expression: "object.metadata.name != 'x'", message: no x here}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-secrets-named-x}
spec: {policyName: no-secrets-named-x, validationActions: [Deny]}
"""


def refusal(kube, *arguments, **kwargs):
    with pytest.raises(subprocess.CalledProcessError) as caught:
        kube.kubectl(*arguments, **kwargs)
    return caught.value.stderr


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_it_and_its_kubectl_are_of_the_pinned_version(kube):
    shown = kube.kubectl("version", "-o", "json")
    assert shown.count(f'"gitVersion": "{pinned_or_given(kube)}"') == 2


def pinned_or_given(kube):
    """What is pinned, or what the programs of KUBEBUILDER_ASSETS say of themselves."""
    if os.environ.get("KUBEBUILDER_ASSETS"):
        with kube.client() as administrator:
            return administrator.get("/version").json()["gitVersion"]
    return version()


def test_cel_rules_of_a_definition_hold(kube):
    kube.kubectl("apply", "-f", "-", stdin=CRD)
    kube.kubectl("wait", "--for=condition=Established", "crd/things.test.example")
    kube.kubectl("apply", "-f", "-", stdin=THING.replace("NAME", "good").replace("LOW", "1"))
    assert "low must be below high" in refusal(
        kube, "apply", "-f", "-", stdin=THING.replace("NAME", "bad").replace("LOW", "9")
    )


def test_an_admission_policy_denies(kube, until):
    kube.kubectl("apply", "-f", "-", stdin=POLICY)
    until(lambda: "no x here" in _create_x(kube))


def _create_x(kube):
    """What comes of making configmap x; one that was made before the policy took hold is deleted again."""
    try:
        made = kube.kubectl("create", "configmap", "x")
    except subprocess.CalledProcessError as error:
        return error.stderr
    kube.kubectl("delete", "configmap", "x")
    return made


def test_a_user_without_rights_is_refused(kube):
    assert 'User "developer" cannot list' in refusal(kube, "get", "secrets", user="developer")
    with kube.client("developer", ["system:authenticated"]) as developer:
        assert developer.get("/api/v1/secrets").status_code == 403


def test_a_users_rights_are_those_of_the_groups_asked_for(kube, until):
    kube.kubectl("create", "clusterrole", "readers", "--verb=list", "--resource=namespaces")
    kube.kubectl("create", "clusterrolebinding", "readers", "--clusterrole=readers", "--group=readers")
    reader = kube.kubeconfig_for("ann", ["writers", "readers"])
    until(lambda: _may_list_namespaces(reader))
    assert "forbidden" in refusal(kube, "get", "namespaces", user="ann", groups=["writers"])


def _may_list_namespaces(kubeconfig):
    with config.new_client_from_config(str(kubeconfig)) as connection:
        try:
            return client.CoreV1Api(connection).list_namespace().items
        except client.exceptions.ForbiddenException:
            return False


def test_pythons_client_is_the_user_of_the_kubeconfig_and_not_the_administrator(kube):
    account = "system:serviceaccount:default:bridge"
    with config.new_client_from_config(str(kube.kubeconfig_for(account))) as connection:
        review = client.AuthenticationV1Api(connection).create_self_subject_review(client.V1SelfSubjectReview())
    assert review.status.user_info.username == account


def test_it_comes_back_with_what_it_held_and_stops_without_a_trace(programs):
    with RealKube(programs) as own:
        own.kubectl("create", "configmap", "kept")
        own.restart_apiserver()
        assert "kept" in own.kubectl("get", "configmaps", "-o", "name")
        processes = [own._etcd.pid, own._apiserver.pid]
    assert not any(alive(pid) for pid in processes)
    assert not Path(own.directory).exists()


def test_it_stops_while_etcd_hangs(programs):
    with RealKube(programs) as own:
        own.pause_etcd()
        processes = [own._etcd.pid, own._apiserver.pid]
    assert not any(alive(pid) for pid in processes)


def test_it_serves_where_there_is_only_loopback(programs):
    script = "from tests.realkube import RealKube, binaries\nwith RealKube(binaries()) as own: print(own.kubectl('get', 'ns'))"
    lonely = [
        "unshare",
        *([] if os.geteuid() == 0 else ["-Ur"]),
        "-n",
        "sh",
        "-c",
        'ip link set lo up && exec "$@"',
        "sh",
    ]
    assert (
        "kube-system"
        in subprocess.run([*lonely, sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    )


def test_nothing_outlives_a_killed_parent(programs, until):
    script = """
        import signal
        from tests.realkube import RealKube, binaries
        own = RealKube(binaries()).start()
        print(own.directory, own._etcd.pid, own._apiserver.pid, flush=True)
        signal.pause()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True) as parent:
        folder, *processes = parent.stdout.readline().split()
        parent.send_signal(signal.SIGKILL)
    until(lambda: not any(alive(int(pid)) for pid in processes))
    subprocess.run(["rm", "-r", folder], check=True)


def test_a_server_that_cant_start_says_why_and_leaves_nothing(programs):
    own = RealKube(programs, flags=["--no-such-flag"])
    with pytest.raises(RealKubeError, match="no-such-flag"):
        own.start()
    assert not alive(own._etcd.pid)
    assert not own.directory.exists()


def test_the_programs_are_there(programs):
    assert isinstance(programs, Binaries)
