"""Whatever a user gives for a configuration is read, or called by its name with what to give instead."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bridge.errors import ConfigurationFileError
from bridge.managers.panorama import read_file
from bridge.managers.panorama.objects.content import read_content
from bridge.managers.panorama.rulebase import document
from tests.panorama_xml import config_text, entry, rule, rulebase, section

GOOD = config_text(groups={"k8s": rulebase("pre", rule("open"))}).encode()
FIREWALL = (
    b'<config version="11.1.0"><shared/><devices><entry name="localhost.localdomain"><vsys><entry name="vsys1"/></vsys>'
    b"</entry></devices></config>"
)


def zipped(**files):
    return zip_of({f"{name}.xml": data for name, data in files.items()})


def zip_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


OF_A_MAC = zip_of({"a/running.xml": GOOD, "__MACOSX/a/._running.xml": b"x", "a/._running.xml": b"x"})


def tarred(*names):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            about = tarfile.TarInfo(name)
            about.size = len(GOOD)
            archive.addfile(about, io.BytesIO(GOOD))
    return buffer.getvalue()


def read(tmp_path, data):
    path = tmp_path / "given"
    path.write_bytes(data)
    return read_file(path, "k8s")


@pytest.mark.parametrize(
    "data",
    [
        GOOD, gzip.compress(GOOD), zipped(running=GOOD), gzip.compress(zipped(running=GOOD)), b"\xef\xbb\xbf" + GOOD,
        gzip.compress(GOOD[:99]) + gzip.compress(GOOD[99:]), OF_A_MAC,
    ],
)  # fmt: skip
def test_a_configuration_is_read_packed_or_not(tmp_path, data):
    assert [each.origin.name for each in read(tmp_path, data).rules] == ["open"]


ANSWER = b"<response status='%s'%s>%s</response>"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tarred("./opt/pancfg/mgmt/saved-configs/running-config.xml", "var/log/a.xml"), "tech-support.*running-config.xml"),
        (gzip.compress(tarred("001_running-config.xml", "002_running-config.xml")), "archive.*2 XML files: 001_"),
        (gzip.compress(tarred("var/log/messages")), "archive.*no XML file"),
        (zipped(a=GOOD, b=GOOD), "zip file with 2 XML files: a.xml, b.xml"),
        (zipped(), "no XML file"),
        (gzip.compress(GOOD)[:-20], "cut off"),
        (b"\x1f\x8b\x09nonsense", "gzip file that can't be unpacked"),
        (b"PK\x03\x04nonsense", "zip file that can't be unpacked"),
        (b"set device-group k8s pre-rulebase security rules r action allow\n", "set commands"),
        (b"# exported\nset shared address a ip-netmask 10.0.0.1\n", "set commands"),
        (b"admin@panorama> show config running\nconfig {\n", "copied from a command line"),
        (b"admin@panorama# show\n<config/>", "copied from a command line"),
        (b"config {\n  shared {\n    address;\n  }\n}\n", "with braces"),
        (b'{"config": {}}', "JSON"),
        (ANSWER % (b"error", b" code='403'", b"<result><msg>Invalid Credential</msg></result>"), "error answer.*403.*Invalid Credential"),
        (ANSWER % (b"unauth", b" code='16'", b"<msg><line>Unauthorized request</line></msg>"), "error answer.*16.*Unauthorized"),
        (ANSWER % (b"success", b"", b"<result><device-group/></result>"), "only <device-group>"),
        (ANSWER % (b"success", b" code='7'", b"<result/>"), "only nothing"),
        (b"<device-group><entry name='k8s'/></device-group>", "only the part <device-group>"),
        (b"<html><body>Sign in</body></html>", "web page"),
        (FIREWALL, "firewall's own configuration.*Panorama > Setup > Operations"),
        (FIREWALL.replace(b"<shared/>", b"<shared/><panorama/>"), "firewall's own configuration"),
        (b"<!DOCTYPE html>\n<html lang=en><body>Sign in</body></html>", "web page"),
        (bz2.compress(GOOD), "bzip2 file, which is not unpacked here"),
        (lzma.compress(GOOD), "xz file, which is not unpacked here"),
        (b"\x00\x93@\x81\xa0> \x7f\x00", "not well-formed XML"),
        (GOOD[:-9], "ends in the middle.*copy it again"),
        (GOOD[:200], "ends in the middle.*copy it again"),
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_called_by_its_name(tmp_path, data, words):
    with pytest.raises(ConfigurationFileError, match=words) as error:
        read(tmp_path, data)
    assert "\n" not in str(error.value)


def test_a_pipe_is_read_and_one_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(document, "MAX_BYTES", 100_000)
    with pytest.raises(ConfigurationFileError, match="more than 100000 bytes"):
        read_file(Path("/dev/zero"), "k8s")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(pipe.write_bytes, GOOD)
        assert len(read_file(pipe, "k8s").rules) == 1
        writing.result(timeout=30)


def test_what_would_unpack_to_more_than_is_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(document, "MAX_BYTES", 100_000)
    for data in (gzip.compress(b" " * 200_000), zipped(bomb=b" " * 200_000)):
        with pytest.raises(ConfigurationFileError, match="more than 100000 bytes unpacked"):
            read(tmp_path, data)


@pytest.mark.parametrize(
    "shape", ["%s", "<config>%s</config>", "<response status='success'><result>%s</result></response>"]
)
def test_predefined_content_is_read_as_panorama_gives_it(tmp_path, shape):
    content = section("application", entry("ssl", "<default><port><member>tcp/443</member></port></default>"))
    path = tmp_path / "predefined.xml"
    path.write_text(shape % f"<predefined>{content}</predefined>")
    assert read_content(path).find("application/entry").get("name") == "ssl"
    path.write_text(f"<response status='success'><result>{content}</result></response>")
    assert read_content(path).find("application/entry").get("name") == "ssl"


@pytest.mark.parametrize("text", ["<config/>", "<predefined><application/></predefined>", "no xml"])
def test_a_file_without_content_is_refused_as_such(tmp_path, text):
    path = tmp_path / "predefined.xml"
    path.write_text(text)
    with pytest.raises(ConfigurationFileError, match="reading predefined content"):
        read_content(path)
