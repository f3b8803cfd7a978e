"""Notices: what the business's own front end shows a customer who owes something.

A notice is no message: it is made anew from where the case stands whenever the front end asks, so its amount
and its date are always true, it is gone once the invoice is paid, and it counts against no contact limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from dunning.messages.catalogue import catalogue_for, unmarked
from dunning.messages.context import MessageContext
from dunning.messages.render import variables
from dunning.values import DeclineClass, Stage

Kind = Literal["payment_failed", "grace", "suspended"]

#: Whose words a notice borrows, and how many of the paragraphs: no more than a banner holds.
_TEMPLATES: dict[Kind, str] = {
    "payment_failed": "payment_failed",
    "grace": "grace_reminder",
    "suspended": "suspended",
}
_PARAGRAPHS = 2


def kind_of(stage: Stage, decline_class: str | None, fates: Iterable[str | None], owed: int) -> Kind | None:
    """Which notice a case asks for, if any. `fates` are those of its messages, `owed` in minor units.

    While the retries are silent nothing is said here either, and nothing at all of fraud and disputes.
    """
    if stage is Stage.CLOSED or owed <= 0 or decline_class == DeclineClass.REVIEW:
        return None
    if stage is Stage.SUSPENDED:
        return "suspended"
    if stage is Stage.GRACE:
        return "grace"
    return "payment_failed" if "accepted" in fates else None


def is_blocking(access: str | None) -> bool:
    """Whether the customer cannot go on without it; else it is a banner that can be dismissed."""
    return access not in (None, "full")


def words(kind: Kind, context: MessageContext, *, folder: Path | None = None) -> tuple[str, str]:
    """Title and text in the customer's language. Raises TemplatesError for words that cannot be used."""
    catalogue = catalogue_for(context.locale, folder, default=context.business.default_locale)
    message, facts = catalogue.message(_TEMPLATES[kind]), variables(catalogue, context)

    def said(sources: tuple[str, ...]) -> list[str]:
        texts = (" ".join(unmarked(catalogue.render(source, facts)).split()) for source in sources)
        return [text for text in texts if text]

    return said(message.subject)[0], " ".join(said(message.body[:_PARAGRAPHS]))
