"""The columns of PAN-OS's logs behind the seven that all share, in their order, by the reader that a line is for.

Pure data. Readers agree on TRAFFIC and SYSTEM. In CONFIG lines the two details of a change have three places, of which
a line can have but one: `docs/siem.md` says which versions of which readers expect what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum


class Reader(StrEnum):
    """Whose CONFIG columns a line has.

    DEFAULT: PAN-OS from 10.1 on, without the details; SC4S, and Elastic's integration where it knows lines with and
    without them. ELASTIC: PAN-OS's custom format that Elastic's documentation gives, which every version of its
    integration reads. SPLUNK: the order of Palo Alto Networks' own add-on for Splunk, behind SC4S too.
    """

    DEFAULT = "default"
    ELASTIC = "elastic"
    SPLUNK = "splunk"


TRAFFIC: Sequence[str] = (
    "src dst natsrc natdst rule srcuser dstuser app vsys from to inbound_if outbound_if logset time_logged sessionid "
    "repeatcnt sport dport natsport natdport flags proto action bytes bytes_sent bytes_received packets start elapsed "
    "category padding seqno actionflags srcloc dstloc padding2 pkts_sent pkts_received session_end_reason "
    "dg_hier_level_1 dg_hier_level_2 dg_hier_level_3 dg_hier_level_4 vsys_name device_name action_source src_uuid "
    "dst_uuid tunnelid monitortag parent_session_id parent_start_time tunnel assoc_id chunks chunks_sent "
    "chunks_received rule_uuid http2_connection link_change_count policy_id link_switches sdwan_cluster "
    "sdwan_device_type sdwan_cluster_type sdwan_site dynusergroup_name xff_ip src_category src_profile src_model "
    "src_vendor src_osfamily src_osversion src_host src_mac dst_category dst_profile dst_model dst_vendor dst_osfamily "
    "dst_osversion dst_host dst_mac container_id pod_namespace pod_name src_edl dst_edl hostid serialnumber src_dag "
    "dst_dag session_owner high_res_timestamp nssai_sst nssai_sd subcategory_of_app category_of_app technology_of_app "
    "risk_of_app characteristic_of_app container_of_app tunneled_app is_saas_of_app sanctioned_state_of_app offloaded"
).split()
SYSTEM: Sequence[str] = (
    "vsys eventid object fmt id module severity opaque seqno actionflags dg_hier_level_1 dg_hier_level_2 "
    "dg_hier_level_3 dg_hier_level_4 vsys_name device_name padding padding2 high_res_timestamp"
).split()
_CHANGE = "host vsys cmd admin client result path"
_GROUPS = "dg_hier_level_1 dg_hier_level_2 dg_hier_level_3 dg_hier_level_4"
_REST = "vsys_name device_name dg_name comment padding high_res_timestamp"
CONFIG: Mapping[Reader, Sequence[str]] = {
    Reader.DEFAULT: f"{_CHANGE} seqno actionflags {_GROUPS} {_REST}".split(),
    Reader.ELASTIC: f"{_CHANGE} before_change_detail after_change_detail seqno actionflags {_GROUPS} {_REST}".split(),
    # The add-on knows no comment: the detail has it. It counts the names two columns later than SC4S, which takes the
    # host's from where the add-on expects the fourth device group: both find it.
    Reader.SPLUNK: (
        f"{_CHANGE} seqno actionflags before_change_detail comment dg_hier_level_1 dg_hier_level_2 "
        "vsys_name device_name vsys_name device_name padding high_res_timestamp"
    ).split(),
}
