"""Groups of messages that a consent may be about"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("consents", schema=None) as batch_op:
        batch_op.add_column(sa.Column("group", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("consents", schema=None) as batch_op:
        batch_op.alter_column("group", server_default=None)
        batch_op.drop_constraint("uq_consents_account_customer_channel_at_state_source", type_="unique")
        batch_op.create_unique_constraint(
            op.f("uq_consents_account_customer_channel_group_at_state_source"),
            ["account", "customer", "channel", "group", "at", "state", "source"],
        )
