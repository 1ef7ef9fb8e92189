"""What was seen: nodes, kinds of connections, their counts by day, how many live, and edits of rules."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "node",
        sa.Column("id", _NUMBER, nullable=False),
        _text("cluster"),
        _text("name"),
        _count("sequence"),
        _count("heard"),
        *(sa.Column(name, sa.BigInteger()) for name in ("since", "begin", "end")),
        *map(_count, ("missed", "folded", "unattributed", "held_back")),
        sa.PrimaryKeyConstraint("id", name="pk_node"),
    )
    op.create_index("uq_node_cluster_name", "node", ["cluster", "name"], unique=True)
    op.create_table(
        "seen_key",
        sa.Column("id", _NUMBER, nullable=False),
        _text("cluster"),
        sa.Column("digest", sa.String(32), nullable=False),
        *map(_text, ("from_zone", "from_namespace", "from_workload")),
        sa.Column("from_network", sa.Text()),
        *map(_text, ("to_zone", "to_namespace", "to_workload")),
        sa.Column("to_network", sa.Text()),
        sa.Column("protocol", sa.Integer(), nullable=False),
        sa.Column("port", sa.Integer()),
        sa.Column("icmp_type", sa.Integer()),
        _text("verdict"),
        sa.Column("enforced", sa.Boolean(), nullable=False),
        _text("rule_name"),
        sa.Column("rule_uuid", sa.Text()),
        _text("rulebase"),
        _text("device_group"),
        sa.PrimaryKeyConstraint("id", name="pk_seen_key"),
    )
    op.create_index("uq_seen_key_cluster_digest", "seen_key", ["cluster", "digest"], unique=True)
    op.create_table(
        "seen_day",
        sa.Column("key", _NUMBER, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        *map(_count, ("connections", "octets", "first", "last")),
        sa.PrimaryKeyConstraint("key", "day", name="pk_seen_day"),
        sa.ForeignKeyConstraint(["key"], ["seen_key.id"], name="fk_seen_day_key", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_seen_day_day", "seen_day", ["day"])
    op.create_table(
        "seen_living",
        sa.Column("node", _NUMBER, nullable=False),
        sa.Column("key", _NUMBER, nullable=False),
        *map(_count, ("at", "living")),
        sa.PrimaryKeyConstraint("node", "key", name="pk_seen_living"),
        sa.ForeignKeyConstraint(["node"], ["node.id"], name="fk_seen_living_node", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["key"], ["seen_key.id"], name="fk_seen_living_key", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_seen_living_key", "seen_living", ["key"])
    op.create_table(
        "rule_edit",
        _text("cluster"),
        _text("rule"),
        _count("at"),
        sa.Column("digest", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("cluster", "rule", "at", name="pk_rule_edit"),
    )


def downgrade() -> None:
    for name in ("rule_edit", "seen_living", "seen_day", "seen_key", "node"):
        op.drop_table(name)
