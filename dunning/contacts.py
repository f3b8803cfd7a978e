"""How often a customer may be written to, over all of their cases and all channels.

Pure. The caller brings every contact of the customer that it knows of and must write the new one in the same
transaction: two callers that look at the same past are both granted the same slot. Sources of the shipped
numbers: 940 CMR 7.04(1)(f) (Massachusetts: two texts in seven days, creditors included) and the rules of New
York City's DCWP of September 2026 (three contacts in seven days over all channels).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from pydantic import AwareDatetime

from dunning.budget import Slot
from dunning.policy import ContactLimits
from dunning.values import Channel, Value

DAY = timedelta(days=1)
#: No limit looks further back.
LONGEST = 7 * DAY
#: What reaches a telephone: WhatsApp counts like an SMS.
TEXTS = frozenset({Channel.SMS, Channel.WHATSAPP})


class Contact(Value):
    """A message that reached the customer, or may have. `extra`: the same was said on another channel."""

    at: AwareDatetime
    channel: Channel
    extra: bool = False


def slot(wanted: Contact, past: Sequence[Contact], limits: ContactLimits) -> Slot:
    """Whether this contact may be made, else from when on and by which rule."""
    refusals = list(_refusals(wanted, past, limits))
    if not refusals:
        return Slot(granted=True, until=wanted.at, reason="within the limits", rule="")
    return max(refusals, key=lambda refusal: refusal.until or wanted.at)


def _refusals(wanted: Contact, past: Sequence[Contact], limits: ContactLimits) -> Iterator[Slot]:
    texts = [contact.at for contact in past if contact.channel in TEXTS]
    every = [contact.at for contact in past]
    rules = [("contacts_per_7_days", "contact", "in 7 days", every, limits.contacts_per_7_days, LONGEST)]
    if wanted.channel in TEXTS:
        rules += [
            ("sms_per_day", "text", "in 24 hours", texts, limits.sms_per_day, DAY),
            ("sms_per_7_days", "text", "in 7 days", texts, limits.sms_per_7_days, LONGEST),
        ]
    for rule, what, when, moments, cap, window in rules:
        # What was said already leaves the last contact to a message that is still to be said.
        cap_now = max(cap - 1, 1) if wanted.extra and rule == "contacts_per_7_days" else cap
        until = _room(moments, cap_now, window)
        if until is not None and until > wanted.at:
            kept = ", the last one is kept for what must be said" if cap_now < cap else ""
            reason = f"at most {cap} {what}{'' if cap == 1 else 's'} {when}{kept}"
            yield Slot(granted=False, until=until, reason=reason, rule=rule)


def _room(moments: list[datetime], cap: int, window: timedelta) -> datetime | None:
    """When the window has room for one more."""
    return sorted(moments, reverse=True)[cap - 1] + window if len(moments) >= cap else None
