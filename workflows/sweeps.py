"""ExpiringCardScan: finds cards that need a case and renewals that need a reminder, once a day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.interface import STRIPE_TASK_QUEUE, TASK_QUEUE, ScanActivities
    from dunning.expiry.scan import Found, Scanned, ScanOrder, ScanPage, onwards, parse_wish
    from workflows.ids import card_expiry_id, card_scan_id, renewal_reminder_id
    from workflows.options import PATIENCE

#: One page is one call to Stripe, so the queue's limit is the scan's. A missing heartbeat tells of a dead
#: worker within a minute; the next try asks for the same page, and no card gets a second case.
_PAGE: dict[str, Any] = {
    "task_queue": STRIPE_TASK_QUEUE,
    "start_to_close_timeout": timedelta(minutes=5),
    "heartbeat_timeout": PATIENCE.silence,
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5)),
}


@workflow.defn(name="ExpiringCardScan")
class ExpiringCardScan:
    """Page by page through all subscriptions; every rule is in `dunning.expiry`."""

    @workflow.run
    async def run(self, *args: Any) -> Scanned:
        """Input: nothing, or one JSON object with `account` (a Stripe Connect account)."""
        try:
            done = parse_wish(args)
        except ValueError as error:
            raise ApplicationError(str(error), type="InvalidInput", non_retryable=True) from error
        while True:
            page: ScanPage = await workflow.execute_activity_method(
                ScanActivities.scan_page,
                ScanOrder(account=done.account, status=done.status, after=done.after),
                summary=f"{done.status} subscriptions, {done.looked_at} looked at",
                **_PAGE,
            )
            for account in page.accounts:  # each on its own: one that refuses our key holds up no other
                await self._start("ExpiringCardScan", card_scan_id(account), {}, account)
            started = sum([await self._open_case(found, done.account) for found in page.found])
            reminders = sum([await self._remind(renewal, done.account) for renewal in page.renewals])
            done = onwards(done, page, started, reminders)
            workflow.set_current_details(
                f"{done.looked_at} subscriptions looked at, {done.started} cases opened, {done.known} known, "
                f"{done.reminders} reminders of renewals"
            )
            if done.status is None:
                return Scanned(
                    looked_at=done.looked_at,
                    started=done.started,
                    known=done.known,
                    reminders=done.reminders,
                )
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(done.model_dump(mode="json"))

    async def _open_case(self, found: Found, account: str) -> int:
        given = {"payment_method_id": found.method}
        return await self._start("CardExpiry", card_expiry_id(found.method, found.expiry), given, account)

    async def _remind(self, subscription: str, account: str) -> int:
        given = {"subscription_id": subscription}
        return await self._start("RenewalReminder", renewal_reminder_id(subscription), given, account)

    async def _start(self, name: str, workflow_id: str, given: dict[str, str], account: str) -> int:
        """Start what outlives the scan. 0 when it runs already."""
        try:
            await workflow.start_child_workflow(
                name,
                given | ({"account": account} if account else {}),
                id=workflow_id,
                task_queue=TASK_QUEUE,
                parent_close_policy=ParentClosePolicy.ABANDON,
            )
        except WorkflowAlreadyStartedError:
            return 0
        return 1
