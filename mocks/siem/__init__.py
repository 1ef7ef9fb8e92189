"""A SIEM in small: a strict Splunk HTTP Event Collector, syslog receiver and log store. It knows no product that sends.

`Siem` is all of it, `HecServer` and `SyslogServer` its parts, `serve` the command of `python -m mocks`.
"""

from mocks.siem.certificates import Certificate, issue
from mocks.siem.cloudwatch import CloudWatch
from mocks.siem.command import serve
from mocks.siem.envelope import Event
from mocks.siem.hec import HecServer
from mocks.siem.receivers import Siem
from mocks.siem.replies import Call
from mocks.siem.rfc5424 import Message, SyslogError
from mocks.siem.syslog import Connection, Rejected, SyslogServer
from mocks.siem.tokens import Token

__all__ = [
    "Call",
    "Certificate",
    "CloudWatch",
    "Connection",
    "Event",
    "HecServer",
    "Message",
    "Rejected",
    "Siem",
    "SyslogError",
    "SyslogServer",
    "Token",
    "issue",
    "serve",
]
