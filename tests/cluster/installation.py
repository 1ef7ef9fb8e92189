"""zonebridge on the test cluster, installed as the documentation says: the kinds, the Secrets, an overlay of config/deploy.

It changes nothing but a site's own settings. Nothing here looks into the product's processes.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.addresses import NODES, OUTSIDE, POOL, SERVICE_CIDRS, Scheme
from tests.cluster.cluster import Cluster
from tests.cluster.images import PRODUCT_IMAGE
from tests.cluster.outside import SIEM_PORT, TOKEN

ROOT = Path(__file__).parents[2]
NAMESPACE, ENFORCER_NAMESPACE = "zonebridge-system", "zonebridge-enforcer"
TIER = "panorama"
NOWHERE = "zonebridge.io/nowhere"  # a label that no node has
ONE_BY_ONE, ALL = "10%", "100%"  # of two nodes; the first is the chart's own
DEVICE_GROUP = "example"
BRIDGE = {
    "panorama": {
        "hosts": [OUTSIDE.ip],
        "apiKeyFile": "/etc/zonebridge/panorama/api-key",
        "caFile": "/etc/zonebridge/panorama/ca.pem",
        "pollInterval": "1s",
    },
    "clusters": [{"name": "example", "deviceGroup": DEVICE_GROUP, "inCluster": True, "tier": TIER}],
    "zones": {"networks": {"untrust": ["0.0.0.0/0", "::/0"]}},
}
ENFORCER = {
    "cluster": "example",
    "tier": TIER,
    "mode": "enforce",
    "metrics": {"address": "127.0.0.1:9469"},
    "serviceNetworks": list(SERVICE_CIDRS),
    "destinations": [
        {
            "name": "splunk",
            "type": "hec",
            "url": f"https://{OUTSIDE.ip}:{SIEM_PORT}",
            "tokenFile": "/etc/zonebridge/siem/token",
            "caFile": "/etc/zonebridge/siem/ca.pem",
            "acknowledge": True,
        }
    ],
}


class Installation:
    """The product on a cluster. `bridge` and `enforcer` are the two settings files, in force from the next `apply`."""

    image = PRODUCT_IMAGE

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.folder = cluster.folder / "site"
        self.bridge: dict[str, Any] = dict(BRIDGE)
        # what docs/enforcer.md asks for where addresses are of a pool
        pool = any(plan.scheme is Scheme.BLOCKS for plan in cluster.plans)
        self._usual = ENFORCER | ({"podNetworks": list(POOL)} if pool else {})
        self.enforcer: dict[str, Any] = dict(self._usual)
        self.at_once = ONE_BY_ONE
        self._applied: object = None
        self._prepare()

    def _prepare(self) -> None:
        self.folder.mkdir()
        shutil.copytree(ROOT / "config" / "deploy", self.folder / "deploy")
        secrets = self.folder / "secrets"
        secrets.mkdir(mode=0o700)
        outside = self.cluster.outside
        (secrets / "api-key").write_text(outside.api_key)
        shutil.copy(outside.panorama_ca, secrets / "ca.pem")
        (secrets / "token").write_text(TOKEN)
        shutil.copy(outside.siem.ca_file, secrets / "siem-ca.pem")

    # -- the steps of an installation

    def install(self) -> None:
        """Everything, in force on every node; on the usual cluster observed first. What is there already stays."""
        self.bridge, self.enforcer = dict(BRIDGE), dict(self._usual)
        if not self.cluster.object("daemonsets", "zone-enforcer", ENFORCER_NAMESPACE):
            self.apply_kinds()
            if self.cluster.plans == NODES:
                self.set_mode("observe")
        self.set_mode("enforce")

    def set_mode(self, mode: str, at_once: str = ALL) -> None:
        """Roll the enforcers out with this mode, on all nodes at once or some, and wait until they have the tier in it."""
        self.enforcer["mode"], self.at_once = mode, at_once
        if self._applied != self._wanted():
            self.apply()
            self._applied = self._wanted()
        self.wait_rolled_out()
        self.wait_in_sync()

    def apply_kinds(self) -> None:
        """The kinds, and the Secrets that are there before the programs are."""
        self.cluster.kubectl("apply", "-f", str(ROOT / "config" / "crd"))
        self.cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        self.cluster.kubectl("apply", "-f", str(self.folder / "deploy" / "namespace.yaml"))
        for namespace in (NAMESPACE, ENFORCER_NAMESPACE):
            self.apply_secrets(namespace)

    def apply_secrets(self, namespace: str) -> None:
        """What only the platform team has: Panorama's key, the SIEM's token, and whom to trust."""
        folder = self.folder / "secrets"
        siem = {"token": folder / "token", "ca.pem": folder / "siem-ca.pem"}
        of_bridge = {
            "zonebridge-panorama": {"api-key": folder / "api-key", "ca.pem": folder / "ca.pem"},
            "zonebridge-siem": siem,
        }
        for name, files in (of_bridge if namespace == NAMESPACE else {"zone-enforcer-siem": siem}).items():
            command = ["create", "secret", "generic", name, "-n", namespace, "--dry-run=client", "-o", "yaml"]
            secret = self.cluster.kubectl(*command, *(f"--from-file={key}={file}" for key, file in files.items()))
            self.cluster.kubectl("apply", "-f", "-", stdin=secret)

    def apply(self) -> None:
        """The overlay, with the settings of now."""
        self._write_overlay()
        self.cluster.kubectl("apply", "-k", str(self.folder))

    def _wanted(self) -> object:
        """The settings, and the programs' objects as they are: what was applied is asked for again where either changed."""
        workloads = [
            self.cluster.object("deployments", "zonebridge", NAMESPACE),
            self.cluster.object("daemonsets", "zone-enforcer", ENFORCER_NAMESPACE),
        ]
        versions = [(each["metadata"]["uid"], each["metadata"]["generation"]) for each in workloads if each]
        return json.dumps([self.bridge, self.enforcer, self.at_once, versions], default=str)

    def _write_overlay(self) -> None:
        (self.folder / "zonebridge.yaml").write_text(yaml.safe_dump(self.bridge, sort_keys=False))
        (self.folder / "enforcer.yaml").write_text(yaml.safe_dump(self.enforcer, sort_keys=False))
        generators = [
            {"name": name, "namespace": namespace, "behavior": "replace", "files": [file]}
            for name, namespace, file in (
                ("zonebridge-settings", NAMESPACE, "zonebridge.yaml"),
                ("zone-enforcer-settings", ENFORCER_NAMESPACE, "enforcer.yaml"),
            )
        ]
        overlay = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": ["deploy"],
            "configMapGenerator": generators,
            "patches": [{"patch": yaml.safe_dump(self._rollout())}],
        }
        (self.folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay, sort_keys=False))

    def _rollout(self) -> dict[str, Any]:
        """How nodes follow one another; where all go at once none waits for another to have stood the test of time."""
        spec: dict[str, Any] = {"updateStrategy": {"rollingUpdate": {"maxUnavailable": self.at_once}}}
        if self.at_once == ALL:
            spec["minReadySeconds"] = 1
        return {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "zone-enforcer", "namespace": ENFORCER_NAMESPACE},
            "spec": spec,
        }

    def uninstall(self) -> None:
        """What the API server has of us, and after that what nodes have: as if we had never been there."""
        if not self._is_present():
            return
        self._write_overlay()
        for target in (("-k", str(self.folder)), ("-f", str(ROOT / "config" / "crd"))):
            self.cluster.kubectl("delete", *target, "--ignore-not-found", "--wait=true")
        for node in self.cluster.nodes.values():
            node.run(["nft", "delete", "table", "inet", "zonebridge"])
            node.require(["rm", "-rf", "/var/lib/zonebridge"])

    def _is_present(self) -> bool:
        """Whether a cluster was ever touched since it is new or we were taken away: our kinds go last."""
        names = {each["metadata"]["name"] for kind in ("namespaces", "crd") for each in self.cluster.objects(kind)}
        return any(name in {NAMESPACE, ENFORCER_NAMESPACE} or name.endswith(".zonebridge.io") for name in names)

    @contextmanager
    def without_enforcers(self) -> Iterator[None]:
        """No node has an enforcer for the block; what they left in the kernels stays."""
        self._choose_nodes({NOWHERE: "true"})
        pods = ("pods", ENFORCER_NAMESPACE, "app.kubernetes.io/name=zone-enforcer")
        self.cluster.wait(lambda: not self.cluster.objects(*pods), "the enforcers have ended", 60)
        try:
            yield
        finally:
            self._choose_nodes({NOWHERE: None})
            self.wait_rolled_out()
            self.wait_in_sync()

    def _choose_nodes(self, labels: dict[str, str | None]) -> None:
        patch = {"spec": {"template": {"spec": {"nodeSelector": labels}}}}
        self.cluster.kubectl(
            "patch", "-n", ENFORCER_NAMESPACE, "daemonset/zone-enforcer", f"--patch={json.dumps(patch)}"
        )

    # -- looking

    def check(self) -> dict[str, Any]:
        """`zonebridge check` at the administrator's machine, with his kubeconfig."""
        program = Path(sys.executable).parent / "zonebridge"
        done = self.cluster.control.run(
            [str(program), "check", f"--kubeconfig={self.cluster.control.kubeconfig}", "-o", "json"]
        )
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if found["good"] else 1), done.stderr
        return found

    def revision(self) -> int:
        """The tier's target revision; 0 before there is one."""
        return int(self.cluster.object("tiers.zonebridge.io", TIER).get("spec", {}).get("revision", 0))

    def state(self, node: str) -> dict[str, Any]:
        """What a node's enforcer reports."""
        status: dict[str, Any] = self.cluster.object("nodestates.zonebridge.io", node).get("status", {})
        return status

    def in_sync(self) -> bool:
        """Whether every node has the tier's target revision in its kernel, in the mode of the settings."""
        wanted = (self.revision(), self.enforcer["mode"])
        states = [self.state(name) for name in self.cluster.nodes] if wanted[0] else [{}]
        return all((state.get("revision"), state.get("mode")) == wanted for state in states)

    def wait_revision(self, at_least: int, seconds: float = 60) -> int:
        """The target revision, once it is this one or a later one."""
        self.cluster.wait(lambda: self.revision() >= at_least, f"revision {at_least}", seconds)
        return self.revision()

    def wait_enforcers(self, seconds: float = 90) -> None:
        """Until the enforcer of every node has said what it does."""
        self.cluster.wait(lambda: all(map(self.state, self.cluster.nodes)), "every node's state is told", seconds)

    def wait_rolled_out(self, seconds: float = 120) -> None:
        """Until every pod of ours is the one that was asked for last, and ready."""
        for namespace, workload in (
            (NAMESPACE, "deployment/zonebridge"),
            (ENFORCER_NAMESPACE, "daemonset/zone-enforcer"),
        ):
            self.cluster.kubectl("rollout", "status", "-n", namespace, workload, f"--timeout={seconds:.0f}s")

    def wait_in_sync(self, seconds: float = 90.0) -> float:
        return self.cluster.wait(self.in_sync, "the tier is in force on every node", seconds)

    def bridge_pods(self) -> list[dict[str, Any]]:
        return self.cluster.objects("pods", NAMESPACE, "app.kubernetes.io/name=zonebridge")

    def restarts(self, node: str) -> int:
        """How often the enforcer of a node was started again in its pod."""
        statuses = self.enforcer_pod(node)["status"]["containerStatuses"]
        return sum(int(status["restartCount"]) for status in statuses if status["ready"])

    def enforcer_pod(self, node: str) -> dict[str, Any]:
        """The enforcer's pod on a node."""
        pods = self.cluster.objects("pods", ENFORCER_NAMESPACE, "app.kubernetes.io/name=zone-enforcer")
        (pod,) = (each for each in pods if each["spec"].get("nodeName") == node)
        return pod
