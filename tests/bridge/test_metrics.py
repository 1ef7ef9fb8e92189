"""The bridge's metrics are those of the documentation, and its queue to the SIEM is among them."""

import asyncio
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bridge.metrics import Metrics
from bridge.siem import RecordStamp, Shipper
from tests.bridge.siem.test_shipping import alert
from zones.siem.outcome import Delivered

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(zonebridge_(?!enforcer_)\w+)` \| (\w+) \| ([^|]*)\| (.*) \|$", re.MULTILINE)


def test_the_documentation_has_each_and_no_other():
    text = DOCS.read_text(encoding="utf-8")
    documented = {name: (kind, set(re.findall(r"\w+", labels)), told) for name, kind, labels, told in ROW.findall(text)}
    collectors = set(Metrics()._registry._collector_to_names)
    exported = {}
    for collector in collectors:
        (family,) = collector.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        exported[name] = (family.type, set(collector._labelnames), family.documentation)
    assert documented == exported


class Away:
    async def send(self, payloads):
        return len(payloads), Delivered()

    async def close(self):
        pass


def sample(metrics, name):
    families = text_string_to_metric_families(metrics.text().decode())
    return next(sample.value for family in families for sample in family.samples if sample.name == name)


def test_what_waits_for_the_siem_is_counted_and_its_age_is_told():
    metrics, shipper = Metrics(), Shipper("siem", Away())
    metrics.queue(shipper.name, shipper.__len__, shipper.oldest)
    assert sample(metrics, "zonebridge_siem_waiting") == sample(metrics, "zonebridge_siem_oldest_seconds") == 0
    records = RecordStamp("bridge", 1)
    for _ in range(2):
        shipper.offer(records.of(alert(), 1_000_000_000.0, 1_000_000_000.0))
    assert sample(metrics, "zonebridge_siem_waiting") == 2
    assert sample(metrics, "zonebridge_siem_oldest_seconds") > 86_400
    asyncio.run(shipper.finish(10))
    assert sample(metrics, "zonebridge_siem_waiting") == 0
