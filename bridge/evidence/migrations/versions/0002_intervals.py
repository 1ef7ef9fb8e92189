"""Intervals: who was in which zone, which node enforced what, alerts, settings; when the bridge looked; reviews."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "term",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("digest", sa.String(32), nullable=False),
        _text("content"),
        sa.PrimaryKeyConstraint("id", name="pk_term"),
    )
    op.create_index("uq_term_digest", "term", ["digest"], unique=True)
    op.create_table(
        "interval",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("cluster", _NUMBER, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("subject", _NUMBER, nullable=False),
        sa.Column("value", _NUMBER, nullable=False),
        _count("begin"),
        sa.Column("end", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_interval"),
        *(
            sa.ForeignKeyConstraint([name], ["term.id"], name=f"fk_interval_{name}")
            for name in ("cluster", "subject", "value")
        ),
    )
    op.create_index("ix_interval_cluster_kind_begin", "interval", ["cluster", "kind", "begin"])
    op.create_index("ix_interval_cluster_kind_end", "interval", ["cluster", "kind", "end"])
    op.create_table(
        "watch",
        sa.Column("id", _NUMBER, nullable=False),
        _text("cluster"),
        *map(_count, ("begin", "end")),
        sa.PrimaryKeyConstraint("id", name="pk_watch"),
    )
    op.create_index("ix_watch_cluster_begin", "watch", ["cluster", "begin"])
    op.create_table(
        "review",
        sa.Column("id", _NUMBER, nullable=False),
        _text("cluster"),
        *map(_count, ("at", "due")),
        *map(_text, ("reviewer", "zones", "note")),
        _count("revision"),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_review"),
    )
    op.create_index("ix_review_cluster_at", "review", ["cluster", "at"])


def downgrade() -> None:
    for name in ("review", "watch", "interval", "term"):
        op.drop_table(name)
