"""What Panorama says of the test cluster, and what that means by `zones.verdict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bridge.compilation.offline import compile_file, known_infrastructure
from bridge.settings.models import BridgeSettings
from tests.cluster.addresses import CONTROL_PLANE, OUTSIDE
from tests.panorama_xml import config_text, entry, rule, rulebase, section
from zones.policy import Policy

PODS = ["default", "web", "app", "data"]
# What the cluster tells a bridge that runs in it.
API_SERVER = {"addresses": [f"{CONTROL_PLANE.ip}/32"], "ports": [6443]}
LOG = "<log-start>yes</log-start>"
# Those that an infrastructure or a default rule would decide otherwise are among them, and each verdict.
RULES = (
    rule("web-to-app", from_="web", to="app", service=["tcp-8080", "udp-8080"], extra=LOG),
    rule("app-to-data", from_="app", to="data", service=["tcp-8080"]),
    rule("pods-to-siem", from_=PODS, to="untrust", destination="siem", service=["tcp-443", "tcp-8088"]),
    rule("untrust-to-web", from_="untrust", to="web", service=["tcp-8080"]),
    rule("nodes-to-web", from_="nodes", to="web", service=["tcp-8080"]),
    rule("data-to-web", "reset-both", from_="data", to="web", service=["tcp-8080", "udp-8080"]),
    rule("data-to-nodes", from_="data", to="nodes", service=["tcp-8081"]),
)
DEFAULTS = (entry("interzone-default", "<action>deny</action><log-end>yes</log-end>"),)


def _service(name: str, protocol: str, port: int) -> str:
    return entry(name, f"<protocol><{protocol}><port>{port}</port></{protocol}></protocol>")


OBJECTS = section("address", entry("siem", f"<ip-netmask>{OUTSIDE.ip}</ip-netmask>")) + section(
    "service",
    _service("tcp-8080", "tcp", 8080),
    _service("udp-8080", "udp", 8080),
    _service("tcp-8081", "tcp", 8081),
    _service("tcp-443", "tcp", 443),
    _service("tcp-8088", "tcp", 8088),
)


def configuration(*rules: str, group: str = "example") -> str:
    """A Panorama configuration with these rules, or the usual ones."""
    return config_text(OBJECTS, {group: rulebase("pre", *(rules or RULES)) + rulebase("post", defaults=DEFAULTS)})


def meaning(settings: dict[str, Any], configuration_file: Path) -> Policy:
    """What a configuration means under a bridge's settings, to a bridge that knows where the API server is."""
    site = BridgeSettings.model_validate({"infrastructure": {"apiServer": API_SERVER}} | settings)
    compiled = compile_file(configuration_file, site.clusters[0].device_group, site, known_infrastructure(site))
    assert compiled.policy is not None, compiled.refusals
    return compiled.policy
