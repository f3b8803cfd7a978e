"""The words to the customer. Light on purpose: decisions import these names, rendering is in `render`."""

from __future__ import annotations

#: Every message there is. Each locale has all of them (`check.check_templates`).
TEMPLATES: frozenset[str] = frozenset(
    {
        "invoice_due_soon",
        "invoice_overdue",
        "card_expiring",
        "card_expiring_last",
        "renewal_upcoming",
        "payment_failed",
        "reminder",
        "impact",
        "grace_started",
        "grace_reminder",
        "final_notice",
        "extension_granted",
        "extension_requested",
        "extension_denied",
        "promise_made",
        "promise_broken",
        "new_link",
        "paused_by_customer",
        "canceled_by_customer",
        "recovered",
        "restored",
        "suspended",
        "survey",
    }
)

#: The messages that ask for nothing, and need no link (`restored`: only when the payment arrived).
NEEDS_NO_LINK: frozenset[str] = frozenset(
    {"recovered", "restored", "survey", "card_expiring", "card_expiring_last", "renewal_upcoming"}
)

#: The messages about a charge to come, for which there is no invoice yet.
ABOUT_A_CHARGE: frozenset[str] = frozenset({"card_expiring", "card_expiring_last", "renewal_upcoming"})

#: The messages that are about a card, and name no amount: it is not known before discounts and tax.
NAMES_NO_AMOUNT: frozenset[str] = frozenset({"card_expiring", "card_expiring_last"})

#: The messages whose text names the last day of grace: one that was accepted is a notice of suspension.
NAMES_LAST_DAY: frozenset[str] = frozenset(
    {"impact", "grace_started", "grace_reminder", "final_notice", "extension_granted", "promise_broken"}
)

#: The messages about an invoice that is sent instead of charged: they name the day on which it is due.
NAMES_DUE_DAY: frozenset[str] = frozenset({"invoice_due_soon", "invoice_overdue"})

#: The answers about a day of their own: the promised one, by when a person answers, to when it is paused.
ANSWERS_ABOUT_A_DAY: frozenset[str] = frozenset(
    {"extension_requested", "promise_made", "promise_broken", "paused_by_customer"}
)
