"""The evidence database's tables, the same in SQLite and PostgreSQL. `bridge.evidence.migrations` makes them.

Times are microseconds since the epoch, days are days since the epoch, both in UTC.

    node ── one row for each node: how far its records were taken, and what it says of its counting
    seen_key ── one row for each kind of connection      seen_day ── how often, by key and day
                                                         seen_living ── how many there are, by key and node
    rule_edit ── when a rule's content was another one for the first time

    interval ── what was the case from when to when      term ── each text in it, once
    watch ── when the bridge looked: outside of that, intervals say nothing
    review ── who looked at which rules when, and when the next review is due
    measurement ── what `zonebridge verify` measured, as JSON
    revision ── a copy of each published revision         part ── what they are made of, each once, by its digest
                                                         revision_part ── which revision is made of which
    seal ── of each day that is over a digest of what ended in it, by kind, and of those before it
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
DIGEST_DIGITS = 32
# SQLite counts by itself only where the type is INTEGER, which has 64 bits there.
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


NODE = Table(
    "node",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("cluster", Text, nullable=False),
    Column("name", Text, nullable=False),
    _count("sequence"),
    _count("heard"),
    Column("since", BigInteger),
    Column("begin", BigInteger),
    Column("end", BigInteger),
    _count("missed"),
    _count("folded"),
    _count("unattributed"),
    _count("held_back"),
    Index("uq_node_cluster_name", "cluster", "name", unique=True),
)

SEEN_KEY = Table(
    "seen_key",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("cluster", Text, nullable=False),
    Column("digest", String(DIGEST_DIGITS), nullable=False),
    Column("from_zone", Text, nullable=False),
    Column("from_namespace", Text, nullable=False),
    Column("from_workload", Text, nullable=False),
    Column("from_network", Text),
    Column("to_zone", Text, nullable=False),
    Column("to_namespace", Text, nullable=False),
    Column("to_workload", Text, nullable=False),
    Column("to_network", Text),
    Column("protocol", Integer, nullable=False),
    Column("port", Integer),
    Column("icmp_type", Integer),
    Column("verdict", Text, nullable=False),
    Column("enforced", Boolean, nullable=False),
    Column("rule_name", Text, nullable=False),
    Column("rule_uuid", Text),
    Column("rulebase", Text, nullable=False),
    Column("device_group", Text, nullable=False),
    Index("uq_seen_key_cluster_digest", "cluster", "digest", unique=True),
)

SEEN_DAY = Table(
    "seen_day",
    METADATA,
    Column("key", ForeignKey("seen_key.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Integer, primary_key=True),
    _count("connections"),
    _count("octets"),
    _count("first"),
    _count("last"),
    Index("ix_seen_day_day", "day"),
    sqlite_with_rowid=False,
)

SEEN_LIVING = Table(
    "seen_living",
    METADATA,
    Column("node", ForeignKey("node.id", ondelete="CASCADE"), primary_key=True),
    Column("key", ForeignKey("seen_key.id", ondelete="CASCADE"), primary_key=True),
    _count("at"),
    _count("living"),
    Index("ix_seen_living_key", "key"),
    sqlite_with_rowid=False,
)

RULE_EDIT = Table(
    "rule_edit",
    METADATA,
    Column("cluster", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", String(DIGEST_DIGITS), nullable=False),
)

TERM = Table(
    "term",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("digest", String(DIGEST_DIGITS), nullable=False),
    Column("content", Text, nullable=False),
    Index("uq_term_digest", "digest", unique=True),
)

INTERVAL = Table(
    "interval",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("cluster", ForeignKey("term.id"), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("subject", ForeignKey("term.id"), nullable=False),
    Column("value", ForeignKey("term.id"), nullable=False),
    _count("begin"),
    Column("end", BigInteger),
    Index("ix_interval_cluster_kind_begin", "cluster", "kind", "begin"),
    Index("ix_interval_cluster_kind_end", "cluster", "kind", "end"),
)

WATCH = Table(
    "watch",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("cluster", Text, nullable=False),
    _count("begin"),
    _count("end"),
    Index("ix_watch_cluster_begin", "cluster", "begin"),
)

REVIEW = Table(
    "review",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("cluster", Text, nullable=False),
    _count("at"),
    _count("due"),
    Column("reviewer", Text, nullable=False),
    Column("zones", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Index("ix_review_cluster_at", "cluster", "at"),
)

MEASUREMENT = Table(
    "measurement",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("cluster", Text, nullable=False),
    _count("at"),
    _count("revision"),
    Column("content", Text, nullable=False),
    Index("ix_measurement_cluster_at", "cluster", "at"),
)

SEAL = Table(
    "seal",
    METADATA,
    Column("cluster", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(8), primary_key=True),
    _count("rows"),
    Column("digest", String(64), nullable=False),
    Column("chain", String(64), nullable=False),
    Column("let_go", Boolean, nullable=False),
)

REVISION = Table(
    "revision",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("cluster", Text, nullable=False),
    Column("tier", Text, nullable=False),
    _count("number"),
    Column("chain", String(64), nullable=False),
    _count("replaces"),
    _count("recorded"),
    Column("spec", LargeBinary, nullable=False),
    Column("status", LargeBinary),
    Index("uq_revision_cluster_tier_chain", "cluster", "tier", "chain", unique=True),
)

PART = Table(
    "part",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("digest", String(DIGEST_DIGITS), nullable=False),
    Column("kind", Text, nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Index("uq_part_digest", "digest", unique=True),
)

REVISION_PART = Table(
    "revision_part",
    METADATA,
    Column("revision", ForeignKey("revision.id", ondelete="CASCADE"), primary_key=True),
    Column("part", ForeignKey("part.id"), primary_key=True),
    Index("ix_revision_part_part", "part"),
    sqlite_with_rowid=False,
)
