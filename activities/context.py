"""What the activities share: their dependencies, the policies, who the business is, and the time."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import stripe
import yaml
from pydantic import ConfigDict, ValidationError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.endpoints import NOBODY, Endpoints
from activities.linking import PageLinks
from activities.policy_book import BUSINESS_FILE, PolicyBook
from activities.stripe_http import StripeHttp
from dunning.case import CaseRef
from dunning.decision import Order, Send
from dunning.endpoints import Endpoint
from dunning.messages.context import Business, Line
from dunning.policy import PolicyError
from dunning.values import Channel
from dunning.yaml_text import read_yaml
from ledger import Ledger


@dataclass(frozen=True)
class Deps:
    """What the activities act through. Made once a process."""

    stripe: stripe.StripeClient
    ledger: Ledger
    policies: PolicyBook
    business: BusinessProfile
    templates: Path | None = None  # the business's own words, laid over those that are shipped
    page: PageLinks | None = None  # None: messages lead to the hosted invoice page
    endpoints: Endpoints = NOBODY  # who is told of events
    news: asyncio.Event = field(default_factory=asyncio.Event)  # set when the outbox has grown


def make_stripe(api_key: str, http: StripeHttp, *, api_base: str | None = None) -> stripe.StripeClient:
    """The client of the Stripe API over connections that who made them closes.

    A `StripeClient` retries nothing by itself unless told to, so it is told: twice, with the same
    idempotency key.
    """
    return stripe.StripeClient(
        api_key,
        base_addresses={"api": api_base.rstrip("/")} if api_base else {},
        max_network_retries=2,
        http_client=http,
    )


# --- the business -------------------------------------------------------------------------------------


class BusinessProfile(Business):
    """Who writes to the customers: `business.yaml` in the folder of policies. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    postal_address: str  # commercial e-mail must name one (CAN-SPAM Act, 15 USC 7704(a)(5))
    support_contact: Line
    endpoints: tuple[Endpoint, ...] = ()  # who is told of events


#: For the sandbox, where nothing reaches anybody.
SANDBOX_BUSINESS = BusinessProfile(
    name="Northwind Cloud",
    sender_email="billing@northwind.example",
    sender_name="Northwind Cloud Billing",
    reply_to="support@northwind.example",
    postal_address="1 Example Street, 10115 Berlin, Germany",
    support_contact="support@northwind.example",
)


def load_business(folder: Path | None) -> BusinessProfile:
    """The profile in the folder, or the sandbox's when there is none. Raises PolicyError for its mistakes."""
    path = folder / BUSINESS_FILE if folder is not None else None
    if path is None or not path.is_file():
        return SANDBOX_BUSINESS
    try:
        data: Any = read_yaml(path.read_text(encoding="utf-8"))
        return BusinessProfile.model_validate(data)
    except yaml.YAMLError as error:
        raise PolicyError(f"{BUSINESS_FILE}: this is not YAML: {error}") from error
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise PolicyError("\n".join(f"{BUSINESS_FILE}: {mistake}" for mistake in mistakes)) from None


# --- time, refusals, logs -----------------------------------------------------------------------------


def business_time() -> datetime:
    """The time of the case: when this try of the activity started. Aware UTC, also when time is skipped."""
    return activity.info().started_time


def too_late(order: Order) -> bool:
    """Whether the moment passed after which the effect must be decided anew."""
    return order.not_after is not None and business_time() > order.not_after


def retry_delay(seconds: float | None, *, at_least: float = 2.0) -> timedelta:
    """How long to wait before the next try: what the provider asks, or `at_least`; up to half more as jitter.

    The jitter comes from the activity's own ids, so that many cases refused together do not return together.
    """
    info = activity.info()
    seed = f"{info.workflow_run_id}/{info.activity_id}/{info.attempt}"
    wait = max(seconds or 0.0, at_least)
    return timedelta(seconds=wait * (1 + random.Random(seed).random() / 2))


def wrong_channel(order: Order, channel: Channel) -> None:
    """Raises ApplicationError, not retried, unless the order is a message for this channel."""
    if not isinstance(order.action, Send) or order.action.channel is not channel:
        raise ApplicationError(
            f"the order {order.action.key} is none for {channel}: schedule the activity that fits it",
            type="WrongActivity",
            non_retryable=True,
        )


def invalid_input(sentence: str) -> ApplicationError:
    """What a person must mend; trying again changes nothing."""
    return ApplicationError(sentence, type="InvalidInput", non_retryable=True)


def log(ref: CaseRef, message: str, **fields: Any) -> None:
    """A structured line of the activity's log. `fields` hold ids and codes, never personal data."""
    activity.logger.info(message, extra={"case": ref.case_id, **fields})
