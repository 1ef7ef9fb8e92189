"""A mock Panorama whose administrator is a script, and bridges as the processes that a user would run."""

import json
import signal
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import yaml

from bridge.compilation import offline
from bridge.settings.file import Purpose, load
from mocks.panorama import Panorama, PanoramaServer
from tests.bridge.running import CRDS
from tests.panorama_xml import config_text, rule, rulebase
from zones.tiers import native

GROUP, TIER, USER, PASSWORD = "dg", "panorama", "reader", "secret"
ROOT = "/apis/zonebridge.io/v1alpha1"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
PROGRAM = Path(sys.executable).parent / "zonebridge"


def config_of(rules):
    """Rules by name: name -> (action, from, to)."""
    texts = [rule(name, action, from_=from_, to=to) for name, (action, from_, to) in rules.items()]
    return config_text(groups={GROUP: rulebase("pre", *texts)})


class Site:
    """Everything of one installation but its clusters; also a context manager. No process outlives it."""

    def __init__(self, folder, clusters, rules, **settings):
        self.folder = folder
        self._stack = ExitStack()
        self._started = []
        self.rules = rules
        panorama = Panorama(config_of(rules), users={USER: PASSWORD}, commit_seconds=0)
        self.panorama = PanoramaServer(panorama)
        # What only a live cluster tells is no part of what `expected` compiles.
        infrastructure = {"apiServer": False}
        self._settings = {
            "clusters": clusters,
            "metrics": {"address": None},
            "infrastructure": infrastructure,
        } | settings

    def __enter__(self):
        self._stack.enter_context(self.panorama)
        self._stack.callback(self._end)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o600)
        reach = {
            "hosts": [f"127.0.0.1:{self.panorama.port}"],
            "username": USER,
            "passwordFile": str(password),
            "caFile": str(self.panorama.ca_file),
            "pollInterval": "500ms",
            "timeout": "5s",
        }
        self.file = self.folder / "zonebridge.yaml"
        self.file.write_text(yaml.safe_dump({"panorama": reach} | self._settings))
        return self

    def __exit__(self, *_):
        self._stack.close()

    def commit(self, rules):
        """What the administrator's rules are from now on."""
        self.rules = rules
        self.panorama.panorama.set_candidate(config_of(rules))
        self.panorama.panorama.commit()
        assert self.panorama.panorama.running is not None

    def expected(self):
        """The tier that these rules make, compiled without any network."""
        path = self.folder / "running.xml"
        path.write_text(config_of(self.rules))
        settings = load(self.file, {}, Purpose.OFFLINE)
        compiled = offline.compile_file(path, GROUP, settings, settings.infrastructure.rules())
        assert compiled.policy is not None
        return offline.rendered(compiled.policy, GROUP, settings)

    def start(self):
        """One more bridge."""
        log = self.folder / f"bridge-{len(self._started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(PROGRAM), "sync", "-c", str(self.file)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        process.log = log
        self._started.append(process)
        return process

    def status(self):
        """What `zonebridge status` says: its exit code, and each cluster by name."""
        command = [str(PROGRAM), "status", "-c", str(self.file), "-o", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, {each["cluster"]: each for each in json.loads(done.stdout)["clusters"]}

    def logs(self):
        """The ends of all logs, for a test's message."""
        return "\n".join(f"--- {each.log.name}\n{each.log.read_text()[-2000:]}" for each in self._started)

    def count(self, text):
        """How many lines of all logs have it."""
        return sum(text in line for each in self._started for line in each.log.read_text().splitlines())

    def _end(self):
        for process in self._started:
            kill(process)


def kill(process):
    """As the kernel does when memory runs out."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()


def cluster_settings(name, kubeconfig, **more):
    return {"name": name, "deviceGroup": GROUP, "kubeconfig": str(kubeconfig), "namespace": "default"} | more


def install(kube):
    """Our kinds, on a real API server."""
    kube.kubectl("apply", "-f", str(CRDS))
    kube.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")


def client_of(mock):
    """The administrator of a mock API server."""
    trust = ssl.create_default_context(cafile=str(mock.ca_file))
    headers = {"Authorization": f"Bearer {mock.token}"}
    return httpx.Client(base_url=mock.url, headers=headers, verify=trust, trust_env=False)


def leader(client, bridges, tier=TIER):
    """The process that holds the lease, or None."""
    found = client.get(f"{LEASES}/zonebridge-{tier}")
    holder = found.json()["spec"].get("holderIdentity", "") if found.is_success else ""
    return next((each for each in bridges if holder.endswith(f"_{each.pid}") and each.poll() is None), None)


def tier_of(client, name=TIER):
    """The live Tier, or None."""
    found = client.get(f"{ROOT}/tiers/{name}")
    return found.json() if found.is_success else None


def parts_of(client, name=TIER):
    """Every part with the tier's label, by name."""
    query = {"labelSelector": f"{native.TIER_LABEL}={name}"}
    return {
        item["metadata"]["name"]: item | {"kind": kind}
        for kind, plural in native.PLURALS.items()
        if kind != native.TIER
        for item in client.get(f"{ROOT}/{plural}", params=query).raise_for_status().json()["items"]
    }


def eventually(condition, seconds=120.0, every=0.05, explain=lambda: ""):
    """The value of a condition once it holds. An API server that can't answer just now is asked again."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(httpx.HTTPError):
            if value := condition():
                return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {condition.__name__}\n{explain()}")
        time.sleep(every)
