"""The worker process: which workflows and activities it serves, how many at once, and how it stops.

Three workers share the process: `dunning` (workflows, messages, the ledger) and, for activities alone,
`dunning-stripe`, whose rate the server limits for all workers together, and `dunning-events`, where a system
of the business that hangs keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import Worker, WorkerDeploymentConfig, WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.billing import StripeBilling
from activities.cards import LedgerCardRecords, StripeCards
from activities.context import Deps, load_business, make_stripe
from activities.email import ProviderEmail
from activities.events import EventDeliveries
from activities.interface import EVENTS_TASK_QUEUE, STRIPE_TASK_QUEUE, TASK_QUEUE
from activities.mailer import SendGridMailer
from activities.payment_reports import PaymentReports
from activities.policy_book import PolicyBook
from activities.posting import Poster
from activities.reconciling import Reconciling
from activities.records import LedgerRecords
from activities.reminding import Reminding
from activities.scanning import CardScan
from activities.sms import ProviderSms
from activities.stripe_http import StripeHttp
from activities.texter import TwilioTexter
from activities.watching import RiskWatch
from dunning.declines import rules
from dunning.policy import PolicyError
from ledger import Ledger, LedgerError
from starter.account_check import looking_beside
from starter.ending import leave
from starter.endpoints import endpoints_of
from starter.errors import DunningError, SettingsError
from starter.links import page_links, unsubscribe_links
from starter.logs import configure
from starter.relay import relaying
from starter.settings import Settings
from starter.temporal import connect, runtime
from starter.webhooks.receiver import Receiver
from starter.webhooks.twilio import STATUS_PATH
from workflows.card_expiry import CardExpiry
from workflows.event_delivery import EventDelivery
from workflows.invoice_dunning import InvoiceDunning
from workflows.options import PATIENCE
from workflows.payment_report import PaymentReport
from workflows.reconciliation import Reconciliation
from workflows.renewal_reminder import RenewalReminder
from workflows.risk_review import RiskReview
from workflows.sweeps import ExpiringCardScan

log = logging.getLogger("dunning.worker")

WORKFLOWS: list[type] = [
    InvoiceDunning, CardExpiry, RenewalReminder, ExpiringCardScan,
    EventDelivery, PaymentReport, Reconciliation, RiskReview,
]  # fmt: skip


_NOWHERE = StorageDriverStoreContext(target=None)


class _Runner(SandboxedWorkflowRunner):
    """The SDK's sandbox. It enters it for each payload, to ask in which context it is converted and stored.

    Our converter works the same in each and stores nothing elsewhere; not to ask takes a third off a replay.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """The workflow of one case, at its beginning or after it was evicted."""
        instance = super().create_instance(det)
        instance.get_serialization_context = lambda command_info: None  # type: ignore[method-assign]
        instance.get_external_store_context = lambda command_info: _NOWHERE  # type: ignore[method-assign]
        return instance


#: Passed through: otherwise every open case holds a copy of its workflow's module, a fifth of all its memory.
#: What the sandbox would find in that module it finds when the tests replay recorded histories without this.
RUNNER = _Runner(SandboxRestrictions.default.with_passthrough_modules("workflows"))
_GRACE = timedelta(seconds=20)  # a worker that is told to stop finishes the calls it has begun


def make_workers(
    client: Client,
    deps: Deps,
    settings: Settings,
    *,
    queues: tuple[str, str, str] = (TASK_QUEUE, STRIPE_TASK_QUEUE, EVENTS_TASK_QUEUE),
    **options: Any,
) -> tuple[Worker, Worker, Worker]:
    """The workers of a process. `options` are those of `temporalio.worker.Worker`, for tests."""
    billing, cards = StripeBilling(deps), StripeCards(deps)
    mailer = SendGridMailer(
        _secret(settings.sendgrid_api_key), settings.sendgrid_api_base, settings.sendgrid_timeout_seconds
    )
    texter = TwilioTexter(
        settings.twilio_account_sid or "",
        _secret(settings.twilio_auth_token),
        settings.twilio_api_base,
        messaging_service_sid=settings.twilio_messaging_service_sid or "",
        timeout=settings.twilio_timeout_seconds,
        status_callback=settings.public_url(STATUS_PATH),
    )
    texts = ProviderSms(deps, texter)
    receiver = Receiver(client, deps.ledger, timedelta(seconds=settings.dunning_rpc_timeout_seconds))
    reconciling = Reconciling(deps, client, receiver)
    # Without an explicit build id the SDK hashes every loaded module, which takes seconds.
    version = WorkerDeploymentVersion(deployment_name="dunning", build_id="unversioned")
    shared: dict[str, Any] = {
        "deployment_config": WorkerDeploymentConfig(version=version, use_worker_versioning=False),
        "graceful_shutdown_timeout": _GRACE,
        **options,
    }
    cases = Worker(
        client,
        task_queue=queues[0],
        workflows=WORKFLOWS,
        workflow_runner=RUNNER,
        activities=[
            ProviderEmail(deps, mailer, unsubscribe_links(settings)).send_email,
            texts.send_sms,
            texts.send_whatsapp,
            LedgerRecords(deps.ledger, deps.policies, deps.endpoints, deps.news).decide,
            RiskWatch(deps).review_risks,
            reconciling.begin,
            reconciling.look,
            reconciling.finish,
            LedgerCardRecords(deps.ledger).decide_card,
        ],
        max_concurrent_activities=50,
        **shared,
    )
    stripe = Worker(
        client,
        task_queue=queues[1],
        activities=[
            cards.open_card_case,
            cards.read_card,
            Reminding(deps).look_at_renewal,
            CardScan(deps).scan_page,
            billing.open_case,
            billing.read_invoice,
            billing.charge,
            billing.take_over,
            billing.give_back,
            billing.move_default,
            billing.suspend,
            billing.restore,
            billing.mark_uncollectible,
            billing.cancel_subscription,
            billing.pause_by_customer,
            billing.cancel_by_customer,
            reconciling.look,
            reconciling.examine,
            PaymentReports(deps, receiver).tell_payer,
        ],
        max_concurrent_activities=50,
        max_task_queue_activities_per_second=settings.stripe_activities_per_second or None,
        **shared,
    )
    poster = Poster(loopback=deps.endpoints.loopback)
    events = Worker(
        client,
        task_queue=queues[2],
        activities=[EventDeliveries(deps.ledger, deps.endpoints, poster).deliver_event],
        max_concurrent_activities=50,
        **shared,
    )
    return cases, stripe, events


async def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then finish what has begun. Raises SettingsError for what is missing."""
    missing = settings.missing("worker")
    if missing:
        raise SettingsError(missing)
    PATIENCE.one_try = timedelta(seconds=settings.dunning_activity_seconds)
    PATIENCE.all_tries = timedelta(seconds=settings.dunning_activity_patience_seconds)
    rules()  # the table of declines is read now, not in the middle of a case
    policies = PolicyBook(settings.dunning_policies)
    policies.segments()
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    client = await connect(settings, runtime(settings))
    ledger = await Ledger.open(settings.database_url)
    http = StripeHttp(settings.stripe_timeout_seconds)
    stripe = make_stripe(_secret(settings.stripe_api_key), http, api_base=settings.stripe_api_base)
    business = load_business(settings.dunning_policies)
    endpoints = endpoints_of(settings, business.endpoints)
    deps = Deps(
        stripe=stripe,
        ledger=ledger,
        policies=policies,
        business=business,
        templates=settings.templates,
        page=page_links(settings),
        endpoints=endpoints,
    )
    try:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(http)
            for worker in make_workers(client, deps, settings):
                await stack.enter_async_context(worker)
            log.info("worker is serving %s and %s", TASK_QUEUE, STRIPE_TASK_QUEUE)
            if endpoints.listed:
                await stack.enter_async_context(relaying(client, ledger, deps.news))
            async with looking_beside(settings):
                await stop.wait()
            log.info("worker is stopping")
    finally:
        await ledger.close()


def _secret(value: Any) -> str:
    return value.get_secret_value() if value is not None else ""


def main() -> int:
    """The process. Exit code 2: the settings do not allow it to start; 1: something does not answer."""
    try:
        settings = Settings.load()
        configure(settings.dunning_log_level)
        gc.freeze()  # what was imported lasts as long as the process: no garbage is among it
        asyncio.run(run(settings))
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except (DunningError, LedgerError, PolicyError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    leave(main())
