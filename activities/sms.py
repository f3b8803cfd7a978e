"""SMS and WhatsApp: the activities that send one, once."""

from __future__ import annotations

from temporalio import activity

from activities.context import Deps, business_time, wrong_channel
from activities.dispatching import Dispatching, Parcel
from activities.interface import SmsActivities
from activities.reader import phone_number
from activities.sending import SendResult
from activities.texter import Template, Text, Texter
from dunning.case import MessageSent
from dunning.decision import Order
from dunning.values import Channel

#: A text that could not be handed over for so many seconds has lost its moment.
_AT_MOST = 4 * 3600


class ProviderSms(SmsActivities):
    """Effects at the SMS provider."""

    def __init__(self, deps: Deps, texter: Texter) -> None:
        self._texter = texter
        self._dispatching = Dispatching(deps, phone_number, self._hand)

    @activity.defn(name="send_sms")
    async def send_sms(self, order: Order) -> MessageSent:
        """Send one SMS, once. Raises ApplicationError `ProviderBusy` when nothing was sent for certain."""
        wrong_channel(order, Channel.SMS)
        return await self._dispatching.send(order)

    @activity.defn(name="send_whatsapp")
    async def send_whatsapp(self, order: Order) -> MessageSent:
        """Send one WhatsApp message by its approved template, once. Raises as `send_sms` does."""
        wrong_channel(order, Channel.WHATSAPP)
        return await self._dispatching.send(order)

    async def _hand(self, parcel: Parcel) -> SendResult:
        words = parcel.words
        return await self._texter.send(
            Text(
                dispatch_id=parcel.dispatch_id,
                to=phone_number(parcel.told) or "",
                body=words.text,
                validity=_validity(parcel.order),
                template=Template(parcel.content_sid, words.variables) if parcel.content_sid else None,
            )
        )


def _validity(order: Order) -> int | None:
    """How long the text may wait in the provider's queue, in seconds: not into the quiet hours."""
    if order.not_after is None:
        return None
    left = int((order.not_after - business_time()).total_seconds())
    return min(max(left, 1), _AT_MOST)
