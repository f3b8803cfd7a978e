"""E-mail: the activity that sends one, once."""

from __future__ import annotations

from temporalio import activity

from activities.context import Deps, wrong_channel
from activities.dispatching import Dispatching, Parcel
from activities.interface import EmailActivities
from activities.mailer import Mail, Mailer
from activities.reader import email_address
from activities.sending import SendResult
from activities.unsubscribing import UnsubscribeLinks
from dunning.case import MessageSent
from dunning.decision import Order
from dunning.values import Channel


class ProviderEmail(EmailActivities):
    """Effects at the e-mail provider."""

    def __init__(self, deps: Deps, mailer: Mailer, links: UnsubscribeLinks | None = None) -> None:
        self._business = deps.business
        self._mailer = mailer
        self._dispatching = Dispatching(deps, email_address, self._hand, links)

    @activity.defn(name="send_email")
    async def send_email(self, order: Order) -> MessageSent:
        """Send one e-mail, once. Raises ApplicationError `ProviderBusy` when nothing was sent for certain."""
        wrong_channel(order, Channel.EMAIL)
        return await self._dispatching.send(order)

    async def _hand(self, parcel: Parcel) -> SendResult:
        business = self._business
        return await self._mailer.send(
            Mail(
                dispatch_id=parcel.dispatch_id,
                case_id=parcel.order.ref.case_id,
                to=email_address(parcel.told) or "",
                subject=parcel.words.subject or "",
                text=parcel.words.text,
                html=parcel.words.html or "",
                sender_email=business.sender_email,
                sender_name=business.sender_name or business.name,
                reply_to=business.reply_to,
                unsubscribe_url=parcel.unsubscribe_url,
            )
        )
