"""Which cases were woken together"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cases", sa.Column("woken_at", sa.DateTime(timezone=True), nullable=True))
