"""What the page says: from facts and offers to HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dunning.messages.context import Business
from dunning.messages.page_words import PageText
from dunning.page import Offers
from dunning.values import Channel, Outcome, Stage
from starter.page.hosted import Owed, Plan

_FOLDER = Path(__file__).parent / "templates"
STYLE = (_FOLDER / "style.css").read_text(encoding="utf-8").strip()
_pages = Environment(
    loader=FileSystemLoader(_FOLDER),
    undefined=StrictUndefined,
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)

#: Seals a form: the action, and the fields that the page itself writes into it.
Seal = Callable[[str, Mapping[str, str]], str]


@dataclass(frozen=True)
class Notice:
    """A sentence above the page. `amiss`: something did not happen as asked."""

    text: str
    amiss: bool = False


@dataclass(frozen=True)
class Standing:
    """Where the customer stands: what is owed, what the open case offers, or how it ended."""

    owed: Owed
    offers: Offers | None  # None: no case is open
    outcome: Outcome | None = None
    channels: Mapping[Channel, bool] = field(default_factory=dict)  # by which we may write, as things stand
    plans: tuple[Plan, ...] = ()  # to which the customer may switch


@dataclass(frozen=True)
class Sheet:
    """Writes pages of one locale, for one business."""

    t: PageText
    business: Business
    notice: Notice | None = None

    def page(self, standing: Standing, seal: Seal | None) -> str:
        """The page itself. Without a seal it is there to be looked at, and none of its forms can be sent."""
        t, offers = self.t, standing.offers
        moving = offers is not None and not offers.processing
        invoices = [
            {
                "name": t("invoice", invoice_number=t.placed(invoice.number) if invoice.number else None),
                "product": invoice.product,
                "amount": t.money(invoice.owed),
                "pay": t("pay", amount=t.money(invoice.owed)),
                "url": invoice.pay_url if offers is None or moving else None,
            }
            for invoice in standing.owed.invoices
        ]
        return self._render(
            "page",
            preview=seal is None,
            seal=_sealing(seal) if seal else lambda *_: "",
            heading=self._heading(standing),
            lines=self._lines(standing),
            invoices=invoices,
            total=t.money(*standing.owed.totals) if invoices else "",
            can_pay=any(invoice["url"] for invoice in invoices),
            card=moving,
            promised=t("promise_done", day=t.day(offers.promised)) if offers and offers.promised else "",
            promise_days=[(d.isoformat(), t.day(d)) for d in offers.promise_days] if offers else [],
            more_time=self.more_time(offers),
            waiting=self.waiting(offers),
            pause=t("pause_text", until=t.day(offers.pause_until)) if offers and offers.pause_until else "",
            plans=[(plan.id, self._plan(plan)) for plan in standing.plans],
            cancel=self.consequence(offers),
            channels=[(channel.value, t(channel.value), on) for channel, on in standing.channels.items()],
            reasons=[(name, t(name)) for name in REASONS] if offers or standing.outcome in _LOST else [],
            longest=LONGEST,
        )

    def sure(self, do: str, question: str, consequence: str, yes: str, seal: Seal, **fields: str) -> str:
        """The second step of what should not happen by a slip, or by a mail scanner that sends forms."""
        return self._render(
            "sure",
            seal=_sealing(seal),
            do=do,
            question=question,
            consequence=consequence,
            yes=yes,
            fields=fields,
        )

    def gone(self) -> str:
        """The link leads nowhere: unknown, expired and revoked ones look alike."""
        return self._render("gone", name="gone")

    def slow(self) -> str:
        """Too many requests."""
        return self._render("gone", name="slow")

    def moment(self, at: datetime, zone: str) -> str:
        """The day of a moment where the customer is."""
        return self.t.day(at.astimezone(ZoneInfo(zone)).date())

    def _render(self, template: str, /, **values: Any) -> str:
        return _pages.get_template(f"{template}.html.jinja").render(
            t=self.t,
            style=Markup(STYLE),
            business=self.business.name,
            postal_address=", ".join((self.business.postal_address or "").split("\n")) or None,
            notice=self.notice.text if self.notice else None,
            notice_amiss=bool(self.notice and self.notice.amiss),
            **values,
        )

    def _heading(self, standing: Standing) -> str:
        if standing.owed.invoices:
            return self.t("open", amount=self.t.money(*standing.owed.totals))
        return self.t("ended" if standing.outcome in _LOST else "settled")

    def _lines(self, standing: Standing) -> list[str]:
        t, offers = self.t, standing.offers
        if offers is None or not standing.owed.invoices:
            lost = standing.outcome in _LOST
            return [] if standing.owed.invoices else [t("ended_text" if lost else "settled_text")]
        if offers.processing:
            return [t("processing")]
        if offers.paused_until is not None:
            return [t("pause_done", until=t.day(offers.paused_until))]
        if offers.stage is Stage.SUSPENDED:
            return [t("paused")]
        leaving = [t("cancel_done_at_end")] if offers.leaving else []
        return [t("keep", last_day=t.day(offers.last_day)), *leaving]

    def consequence(self, offers: Offers | None) -> str:
        """What canceling means; an empty text if it is not offered."""
        if offers is None or not offers.cancel:
            return ""
        return self.t("cancel_now" if offers.cancel == "now" else "cancel_at_end")

    def _plan(self, plan: Plan) -> str:
        words = {"month": "monthly", "year": "yearly"}.get(plan.interval, "other_interval")
        return self.t(words, plan=plan.name, amount=self.t.money(plan.price))

    def more_time(self, offers: Offers | None) -> str:
        """How much more time there is to have, and how; an empty text if there is none."""
        if offers is None or offers.more_time is None:
            return ""
        more = offers.more_time
        days = self.t.days(more.days)
        if more.answer_by is None:
            return self.t("time_at_once", granted_days=days)
        return self.t("time_by_person", granted_days=days, answer_by=self.moment(more.answer_by, offers.zone))

    def waiting(self, offers: Offers | None) -> str:
        """Until when a request for more time is answered; an empty text if none waits."""
        if offers is None or offers.answer_by is None:
            return ""
        return self.t("time_waits", answer_by=self.moment(offers.answer_by, offers.zone))


#: What may have gone wrong, in the order in which the page asks; the names are kept in the ledger.
REASONS = (
    "too_expensive",
    "payment_trouble",
    "not_needed",
    "something_missing",
    "technical_trouble",
    "something_else",
)
#: Letters of a customer's own words.
LONGEST = 500

#: How cases end that lost the customer.
_LOST = (Outcome.WRITTEN_OFF, Outcome.CANCELED)


def _sealing(seal: Seal) -> Callable[..., Markup]:
    """What every form of the page carries: what to do, the page's own fields, and the seal over both."""

    def fields(do: str, written: Mapping[str, str] | None = None) -> Markup:
        own = dict(written or {})
        carried = {"do": do, **own, "seal": seal(do, own)}
        return Markup("").join(
            Markup('<input type="hidden" name="{}" value="{}">').format(*item) for item in carried.items()
        )

    return fields


def as_day(text: str) -> date | None:
    """A day as forms write it, if it is one."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
