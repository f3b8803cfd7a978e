"""Events that tell of no case: of a customer's risk, of a reconciliation"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.alter_column("case_id", existing_type=sa.String(), nullable=True)
