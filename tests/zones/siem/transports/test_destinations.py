"""Where records go: every fault of it at once, each with its path, and exit code 2; nothing is connected to before."""

import json
from datetime import UTC, datetime

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from enforcer.settings.models import load
from tests.enforcer.test_cli import call
from zones.runtime.errors import SettingsError
from zones.siem.destinations import chosen
from zones.siem.sender import sender


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "enforcer.yaml"
        path.write_text(json.dumps(content))
        return path

    return write


def faults(path, environment=None):
    with pytest.raises(SettingsError) as caught:
        load(path, environment or {})
    return sorted(caught.value.faults)


def hec(**more):
    return {"name": "siem", "type": "hec", "url": "https://siem:8088", "tokenEnv": "TOKEN"} | more


def test_the_command_tells_all_faults_and_ends_with_2(written, tmp_path):
    """Each once, each with its path in the file, whatever else is wrong; nothing is connected to, nothing is made."""
    (tmp_path / "empty.pem").write_text("no certificate")
    ca = trustme.CA()
    for name in ("n1", "n2"):
        leaf = ca.issue_cert(name)
        leaf.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        leaf.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
    files = {name: str(tmp_path / name) for name in ("empty.pem", "n1.pem", "n2.key", "none.key", "none")}
    syslog = {"type": "syslog", "address": "siem:6514"}
    content = {
        "cluster": "prod",
        "stateDir": str(tmp_path / "state"),
        "colour": "red",
        "spool": {"drop": "some", "maxByte": 1},
        "destinations": [
            {"name": "siem", "type": "file", "path": "-", "format": "xml"},
            {"name": "siem", "type": "carrier-pigeon"},
            syslog | {"name": "unreadable", "caFile": files["empty.pem"]},
            hec(name="no-token"),
            syslog | {"name": "mismatched", "certFile": files["n1.pem"], "keyFile": files["n2.key"]},
            syslog | {"name": "no-key", "certFile": files["n1.pem"], "keyFile": files["none.key"]},
            {"name": "no-token-file", "type": "hec", "url": "https://siem:8088", "tokenFile": files["none"]},
            hec(name="two-tokens", tokenFile=files["none"]),
            {"name": "sp ace", "type": "file", "path": "-", "colour": "red"},
        ],
    }
    path = written(content)
    done = call("run", "-c", path)
    assert done.returncode == 2
    assert done.stdout == ""
    told = [line.removeprefix(f"{path}: ").partition(": ")[0] for line in done.stderr.splitlines()]
    assert sorted(told) == [
        "colour",
        "destinations",
        "destinations[0].format",
        "destinations[1]",
        "destinations[2].caFile",
        "destinations[3].tokenEnv",
        "destinations[4].certFile",
        "destinations[5].keyFile",
        "destinations[6].tokenFile",
        "destinations[7]",
        "destinations[8].colour",
        "destinations[8].name",
        "spool.drop",
        "spool.maxByte",
    ]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("destination", "fault"),
    [
        ({"type": "file", "path": "-", "format": "xml"}, "destinations[0].format: Input should be 'json', 'ocsf'"),
        ({"type": "file", "path": "-", "format": "flowline"}, "destinations[0]: the format flowline is for flows only"),
        ({"type": "kafka"}, "destinations[0]: Input tag 'kafka' found using 'type' does not match any"),
        (
            {"type": "syslog", "address": "a:1", "format": "cef", "structuredData": True},
            "destinations[0]: structuredData",
        ),
        (
            {"type": "syslog", "address": "a:1", "tls": False, "caFile": "/x"},
            "destinations[0]: caFile and certFile are",
        ),
        ({"type": "syslog", "address": "a:1", "severities": {"loud": 1}}, "destinations[0].severities.loud"),
        ({"type": "syslog", "address": "a:1", "keyFile": "/x"}, "destinations[0]: keyFile is the key of a certificate"),
        (
            {"type": "hec", "url": "https://a", "tokenEnv": "T", "index": {"flood": "x"}},
            "destinations[0].index: 'flood' is",
        ),
        ({"type": "cloudwatch", "region": "Frankfurt", "group": "g"}, "destinations[0].region"),
        ({"type": "hec", "url": "https://a:port", "tokenEnv": "T"}, "destinations[0].url: Port could not be cast"),
        ({"type": "hec", "url": "https://me:secret@a", "tokenEnv": "T"}, "destinations[0].url: must be http(s)://HOST"),
        ({"type": "hec", "url": "https://a b", "tokenEnv": "T"}, "destinations[0].url: String should match"),
    ],
)
def test_a_wrong_destination_is_told_by_its_path(written, destination, fault):
    content = {"cluster": "prod", "destinations": [{"name": "siem"} | destination]}
    found = [each for each in faults(written(content), {"T": "x"}) if each.startswith(fault)]
    assert len(found) == 1, faults(written(content), {"T": "x"})


def test_certificates_that_do_not_hold_are_told(written, tmp_path):
    ca, other = trustme.CA(), trustme.CA()
    past = ca.issue_cert("n1")
    for name, blob in {
        "ca.pem": ca.cert_pem,
        "n1.pem": past.cert_chain_pems[0],
        "n1.key": past.private_key_pem,
        "other.key": other.issue_cert("n1").private_key_pem,
    }.items():
        blob.write_to_path(str(tmp_path / name))
    (tmp_path / "empty.pem").write_text("no certificate")
    old = tmp_path / "old.pem"
    old.write_bytes(expired_authority())

    def syslog(name, **more):
        files = {key: str(tmp_path / value) for key, value in more.items()}
        return {"name": name, "type": "syslog", "address": "siem:6514"} | files

    content = {
        "cluster": "prod",
        "mode": "loud",
        "destinations": [
            syslog("fine", caFile="ca.pem", certFile="n1.pem", keyFile="n1.key"),
            syslog("a", caFile="empty.pem"),
            syslog("b", certFile="n1.pem", keyFile="other.key"),
            syslog("c", certFile="n1.pem"),
            syslog("d", certFile="empty.pem", keyFile="none.key"),
            syslog("e", caFile="old.pem"),
        ],
    }
    found = {fault.partition(": ")[0]: fault for fault in faults(written(content))}
    assert sorted(found) == [
        "destinations[1].caFile",
        "destinations[2].certFile",
        "destinations[3].certFile",
        "destinations[4].keyFile",
        "destinations[5].caFile",
        "mode",
    ]
    assert "expired" in found["destinations[5].caFile"]
    assert "PRIVATE" not in "".join(found.values())


def expired_authority():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
    made = made.not_valid_after(datetime(2021, 1, 1, tzinfo=UTC))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_one_word_for_all_records_or_one_for_each_kind(written):
    content = {
        "cluster": "prod",
        "destinations": [
            hec(index="net", sourcetype={"flow": "pan:traffic", "alert": "pan:system", "tier-refused": "pan:config"})
        ],
    }
    (found,) = load(written(content), {"TOKEN": "x"}).destinations
    flow, alert = {"kind": "flow"}, {"kind": "alert", "alert": "log-loss"}
    assert [chosen(found.index, record) for record in (flow, alert)] == ["net", "net"]
    refused = alert | {"alert": "tier-refused"}
    words = [chosen(found.sourcetype, record) for record in (flow, alert, refused)]
    assert words == ["pan:traffic", "pan:system", "pan:config"]


@pytest.mark.parametrize(
    ("destination", "means"),
    [
        (hec(), "accepted"),
        (hec(acknowledge=True), "indexed"),
        ({"name": "siem", "type": "syslog", "address": "siem:601", "tls": False}, "received"),
        ({"name": "siem", "type": "syslog", "address": "siem:6514", "framing": "newline"}, "received"),
        ({"name": "siem", "type": "file", "path": "-"}, "written"),
        ({"name": "siem", "type": "cloudwatch", "region": "eu-west-1", "group": "g"}, "accepted"),
    ],
)
def test_what_sent_means_is_no_more_than_the_transport_can_know(written, destination, means):
    content = {"cluster": "prod", "tier": "panorama", "nodeName": "n1", "destinations": [destination]}
    (settings,) = load(written(content), {"TOKEN": "t"}).destinations
    assert sender(settings, {"TOKEN": "t"}).arrival == means
