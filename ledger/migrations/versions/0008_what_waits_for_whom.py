"""What waits for whom, and what the customer may use"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("cases", schema=None) as batch_op:
        batch_op.add_column(sa.Column("asks", sa.String(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("asks_whom", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("asks_until", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("access", sa.String(), nullable=True))
    with op.batch_alter_table("cases", schema=None) as batch_op:
        batch_op.alter_column("asks", server_default=None)
