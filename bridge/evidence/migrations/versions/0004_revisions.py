"""Copies of published revisions, and of the parts that they are made of, each once."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "revision",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.String(64), nullable=False),
        sa.Column("replaces", sa.BigInteger(), nullable=False),
        sa.Column("recorded", sa.BigInteger(), nullable=False),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
    )
    op.create_index("uq_revision_cluster_tier_chain", "revision", ["cluster", "tier", "chain"], unique=True)
    op.create_table(
        "part",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("digest", sa.String(32), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_part"),
    )
    op.create_index("uq_part_digest", "part", ["digest"], unique=True)
    op.create_table(
        "revision_part",
        sa.Column("revision", _NUMBER, nullable=False),
        sa.Column("part", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("revision", "part", name="pk_revision_part"),
        sa.ForeignKeyConstraint(["revision"], ["revision.id"], name="fk_revision_part_revision", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["part"], ["part.id"], name="fk_revision_part_part"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_revision_part_part", "revision_part", ["part"])


def downgrade() -> None:
    for name in ("revision_part", "part", "revision"):
        op.drop_table(name)
