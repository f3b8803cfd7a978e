"""What became of messages after a provider took them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("dispatches", schema=None) as batch_op:
        batch_op.add_column(sa.Column("address", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("delivery", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("delivery_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("delivery_detail", sa.String(), nullable=False, server_default=""))
        batch_op.create_index("ix_dispatches_address", ["address"], unique=False)
    with op.batch_alter_table("dispatches", schema=None) as batch_op:
        batch_op.alter_column("delivery_detail", server_default=None)

    with op.batch_alter_table("dispatch_events", schema=None) as batch_op:
        batch_op.add_column(sa.Column("key", sa.String(), nullable=True))
    op.execute("UPDATE dispatch_events SET key = event || '@' || CAST(at AS VARCHAR)")
    with op.batch_alter_table("dispatch_events", schema=None) as batch_op:
        batch_op.alter_column("key", existing_type=sa.String(), nullable=False)
        batch_op.drop_constraint("uq_dispatch_events_dispatch_id_provider_event_at", type_="unique")
        batch_op.create_unique_constraint(
            op.f("uq_dispatch_events_dispatch_id_provider_key"), ["dispatch_id", "provider", "key"]
        )
