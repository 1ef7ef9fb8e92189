"""The bridge's own alerts for the SIEM: their records, and a bounded queue for each destination."""

from bridge.siem.record import RecordStamp
from bridge.siem.shipper import Shipper
from bridge.siem.sink import SiemSink

PROGRAM = "zonebridge"
"""What syslog messages of the bridge begin with."""

__all__ = ["PROGRAM", "RecordStamp", "Shipper", "SiemSink"]
