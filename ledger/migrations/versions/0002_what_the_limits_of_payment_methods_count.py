"""What the limits of payment methods count"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "charges",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("charge_id", sa.String(), nullable=False),
        sa.Column("invoice_id", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("scheme", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=True),
        sa.Column("expiry", sa.String(), nullable=True),
        sa.Column("brand", sa.String(), nullable=True),
        sa.Column("funding", sa.String(), nullable=True),
        sa.Column("country", sa.String(), nullable=True),
        sa.Column("decline_class", sa.String(), nullable=True),
        sa.Column("reached_network", sa.Boolean(), nullable=False),
        sa.Column("lock", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("account", "charge_id", name=op.f("pk_charges")),
    )
    with op.batch_alter_table("charges", schema=None) as batch_op:
        batch_op.create_index("ix_charges_fingerprint", ["account", "fingerprint", "at"], unique=False)
        batch_op.create_index("ix_charges_invoice", ["account", "invoice_id"], unique=False)

    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("customer", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("scheme", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("expiry", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("funding", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("country", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("customer_present", sa.Boolean(), nullable=True))
        batch_op.add_column(sa.Column("charged_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("reached_network", sa.Boolean(), nullable=True))
        batch_op.add_column(sa.Column("lock", sa.String(), nullable=True))
        batch_op.create_index("ix_attempts_charge_id", ["account", "charge_id"], unique=False)
        batch_op.create_index(
            "ix_attempts_pending",
            ["account", "customer"],
            unique=False,
            sqlite_where=sa.text("completed_at IS NULL"),
            postgresql_where=sa.text("completed_at IS NULL"),
        )

    with op.batch_alter_table("cases", schema=None) as batch_op:
        batch_op.add_column(sa.Column("next_action", sa.String(), nullable=True))

    # Attempts of before: whose they were, and which of them surely never left the house.
    op.execute("UPDATE attempts SET customer = (SELECT customer FROM cases WHERE cases.id = attempts.case_id)")
    op.execute("UPDATE attempts SET reached_network = FALSE WHERE outcome IN ('not_needed', 'shadow')")
