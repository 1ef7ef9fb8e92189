"""The bridge's own alerts for the SIEM: the record that docs/records.md describes, over HEC or syslog."""

from bridge.siem.record import Records
from bridge.siem.shipper import Shipper
from bridge.siem.sink import SiemSink

__all__ = ["Records", "Shipper", "SiemSink"]
