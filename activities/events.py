"""Carries events to the business's own systems, in the format of Standard Webhooks."""

from __future__ import annotations

import random
import time

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.context import business_time
from activities.endpoints import Endpoints
from activities.interface import EventActivities
from activities.posting import Answer, Poster
from dunning.announcements import body
from dunning.case import Announcement
from dunning.endpoints import Delivered, DeliveryEnd, DeliveryOrder, Endpoint, pause_before_repeat
from dunning.signing import signed_headers
from ledger import Ledger

_GONE = 410


class EventDeliveries(EventActivities):
    """Posts one event to one endpoint, and logs each attempt in the ledger."""

    def __init__(self, ledger: Ledger, endpoints: Endpoints, poster: Poster) -> None:
        self._outbox = ledger.outbox
        self._endpoints = endpoints
        self._poster = poster

    @activity.defn(name="deliver_event")
    async def deliver_event(self, order: DeliveryOrder) -> Delivered:
        """Try once. Raises ApplicationError with the time of the next try, until the ladder is at its end."""
        event = await self._outbox.event(order.event_id)
        delivery = await self._outbox.delivery(order.event_id, order.endpoint)
        if event is None or delivery is None:
            raise ApplicationError(
                f"the ledger has no event {order.event_id} for {order.endpoint}: see `dunning events list`",
                type="InvalidInput",
                non_retryable=True,
            )
        if delivery.state not in ("pending", "started"):  # an earlier try got lost on its way back
            return Delivered(state=delivery.state, detail=delivery.detail)
        endpoint = self._endpoints.named(order.endpoint)
        if endpoint is None:
            return await self._end(order, "failed", "business.yaml has no such endpoint any more")
        if order.endpoint in await self._outbox.disabled():
            return await self._end(order, "held", "the endpoint is disabled")
        answer = await self._tried(endpoint, event.announcement)
        if answer.status is not None and 200 <= answer.status < 300:
            return await self._end(order, "delivered", f"answered {answer.status}")
        if answer.status == _GONE:
            await self._outbox.disable(order.endpoint, at=business_time(), reason="it answered 410 Gone")
            return await self._end(order, "held", "it answered 410 Gone: the endpoint is disabled")
        return await self._once_more(order, answer)

    async def _tried(self, endpoint: Endpoint, told: Announcement) -> Answer:
        content = body(told)
        # The receiver compares this time with its own clock; the time of the case stands in the body.
        signed = signed_headers(told.id, int(time.time()), content, self._endpoints.keys[endpoint.name])
        headers = {**signed, "content-type": "application/json", "user-agent": "dunning"}
        answer = await self._poster.post(endpoint.url, content, headers)
        await self._outbox.tried(
            told.id, endpoint.name, at=business_time(), status=answer.status, detail=answer.detail
        )
        return answer

    async def _once_more(self, order: DeliveryOrder, answer: Answer) -> Delivered:
        info = activity.info()
        why = f"answered {answer.status}" if answer.status is not None else answer.detail
        pause = pause_before_repeat(info.attempt, answer.status, answer.retry_after)
        if pause is None:
            activity.logger.warning("event not delivered", extra={"event": order.event_id, "why": why})
            return await self._end(order, "failed", why)
        jitter = random.Random(f"{info.workflow_run_id}/{info.attempt}").random() / 10
        raise ApplicationError(why, type="NotDelivered", next_retry_delay=pause * (1 + jitter))

    async def _end(self, order: DeliveryOrder, state: DeliveryEnd, detail: str) -> Delivered:
        await self._outbox.end(order.event_id, order.endpoint, state, at=business_time(), detail=detail)
        return Delivered(state=state, detail=detail)
