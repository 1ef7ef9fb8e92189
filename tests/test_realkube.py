"""The real API server itself: it serves, validates, admits, refuses, and leaves nothing behind."""

import subprocess
from pathlib import Path

import pytest

from tests.realkube import Binaries, RealKube, version

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


def test_kubectl_is_of_the_servers_version(kube):
    shown = kube.kubectl("version", "-o", "json")
    assert shown.count(f'"gitVersion": "{version()}"') == 2


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
    assert "forbidden" in refusal(kube, "get", "secrets", user="developer", groups=["system:authenticated"])
    with kube.client("developer", ["system:authenticated"]) as developer:
        assert developer.get("/api/v1/secrets").status_code == 403


def test_it_comes_back_with_what_it_held_and_stops_without_a_trace(programs):
    with RealKube(programs) as own:
        own.kubectl("create", "configmap", "kept")
        own.restart_apiserver()
        assert "kept" in own.kubectl("get", "configmaps", "-o", "name")
        processes = [own._etcd, own._apiserver]
    assert all(process.poll() is not None for process in processes)
    assert not Path(own.directory).exists()


def test_the_programs_are_there(programs):
    assert isinstance(programs, Binaries)
