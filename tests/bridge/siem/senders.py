"""The bridge's senders as its settings make them, with a token and times of the tests' own."""

from bridge.settings.models import SiemSettings
from bridge.wiring.siem import sender
from zones.siem.records import encoded
from zones.siem.transports.hec import HecSender


def made(**written):
    (destination,) = SiemSettings.model_validate({"destinations": [{"name": "siem", **written}]}).destinations
    return sender(destination, "here")


def collector_sender(url, token, *, timeout, **more):
    files = {"caFile": more["ca_file"]} if "ca_file" in more else {}
    settings = made(type="hec", url=url, tokenFile="unused", timeout=timeout, **files)._settings
    found = HecSender(settings, token)
    found.receiver = url
    return found


def syslog_sender(address, *, ca_file=None, timeout=20.0, outlived=2.0, **more):
    host, port = address[:2]
    files = {} if ca_file is None else {"caFile": ca_file}
    found = made(type="syslog", address=f"{host}:{port}", tls=ca_file is not None, timeout=timeout, **files, **more)
    found.outlived = outlived
    return found


async def send(sender, record):
    """What became of one record."""
    _, outcome = await sender.send([encoded(record)])
    return outcome
