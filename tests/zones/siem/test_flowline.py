"""Flow lines have 24 words, whatever names are in them."""

from urllib.parse import unquote

from hypothesis import given

from tests.zones.siem.cases import CASES, FLOWS
from zones.siem.formats import flowline

WORDS = (
    "startTime endTime srcType srcNamespace srcName srcLabels dstType dstNamespace dstName dstLabels srcIP dstIP proto "
    "srcPort dstPort numFlows numFlowsStarted numFlowsCompleted reporter packetsIn packetsOut bytesIn bytesOut action"
).split()


def parse(line):
    found = line.split(" ")
    assert len(found) == len(WORDS) == 24
    return dict(zip(WORDS, found, strict=True))


def test_the_words_stand_where_readers_expect_them():
    assert parse(flowline.render(CASES["flow-allowed-at-end"])) == {
        "startTime": "1795260148",
        "endTime": "1795260151",
        "srcType": "wep",
        "srcNamespace": "shop",
        "srcName": "web-7d4b9c6f5-x2x4z",
        "srcLabels": "[app.kubernetes.io/name=web,team=shop]",
        "dstType": "wep",
        "dstNamespace": "db",
        "dstName": "postgres-0",
        "dstLabels": "-",
        "srcIP": "10.1.0.10",
        "dstIP": "10.1.0.20",
        "proto": "6",
        "srcPort": "41022",
        "dstPort": "5432",
        "numFlows": "1",
        "numFlowsStarted": "0",
        "numFlowsCompleted": "1",
        "reporter": "out",
        "packetsIn": "7",
        "packetsOut": "8",
        "bytesIn": "2000",
        "bytesOut": "900",
        "action": "allow",
    }


@given(FLOWS)
def test_any_flow_has_its_words(record):
    words = parse(flowline.render(record))
    for side, word in (("source", "srcName"), ("destination", "dstName")):
        name = record[side].get("pod", record[side].get("node"))
        if name and name.isprintable() and len(name) < 1000:
            assert unquote(words[word]) == name
    assert words["srcIP"] == record["source"]["address"]
    assert words["action"] == ("allow" if record["verdict"] == "allow" or not record["enforced"] else "deny")
    for side, word in (("source", "srcLabels"), ("destination", "dstLabels")):
        labels = record[side].get("labels")
        if labels and len(words[word]) < 1000 and all((key + value).isprintable() for key, value in labels.items()):
            told = dict(pair.split("=") for pair in words[word][1:-1].split(","))
            assert {unquote(key): unquote(value) for key, value in told.items()} == labels
