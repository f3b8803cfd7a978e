"""Cards that expire before their next charge"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "card_cases",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("expiry", sa.String(), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("workflow_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("customer", sa.String(), nullable=False),
        sa.Column("policy_name", sa.String(), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("charge_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_reason", sa.String(), nullable=False),
        sa.Column("stopped", sa.Boolean(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_what", sa.String(), nullable=False),
        sa.Column("seq_base", sa.Integer(), nullable=False),
        sa.Column("remembered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_cases")),
        sa.UniqueConstraint(
            "account", "method", "expiry", "episode", name=op.f("uq_card_cases_account_method_expiry_episode")
        ),
    )
    with op.batch_alter_table("card_cases", schema=None) as batch_op:
        batch_op.create_index("ix_card_cases_customer", ["account", "customer"], unique=False)
        batch_op.create_index("ix_card_cases_next_at", ["next_at"], unique=False)
        batch_op.create_index(
            "uq_card_cases_one_open",
            ["account", "method", "expiry"],
            unique=True,
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        )

    # Lines and messages belong to either kind of case: what no foreign key can say of two tables.
    with op.batch_alter_table("entries", schema=None) as batch_op:
        batch_op.drop_constraint("fk_entries_case_id", type_="foreignkey")
    with op.batch_alter_table("dispatches", schema=None) as batch_op:
        batch_op.drop_constraint("fk_dispatches_case_id", type_="foreignkey")
