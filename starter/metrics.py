"""Prometheus metrics of the app: what the webhooks did, and what the ledger holds.

The Temporal SDK's own metrics (activity failures, latencies, free slots) are on the worker's port
(`DUNNING_METRICS_ADDRESS`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ledger.records import Counts

#: name, help and labels of each count, in the order of the fields of `Counts`
_FAMILIES = {
    "cases": ("dunning_cases", "Cases by stage and outcome", ("stage", "outcome")),
    "attempts": ("dunning_attempts", "Charge attempts by decline class and outcome", ("class", "outcome")),
    "recovered": (
        "dunning_recovered_minor_units",
        "Amounts recovered, in minor units of the currency",
        ("currency", "via"),
    ),
    "messages": ("dunning_messages", "Messages by channel and fate", ("channel", "fate")),
    "findings": (
        "dunning_reconciliation_findings",
        "What the last reconciliation found, by kind and whether it was fixed",
        ("kind", "state"),
    ),
    "events": ("dunning_events", "Events by endpoint and state of delivery", ("endpoint", "state")),
}


class Metrics:
    """The counters of one app. Each app has its own registry, so that several live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.webhooks = Counter(
            "dunning_webhooks",
            "Webhook deliveries by provider, event type and result",
            ["provider", "type", "result"],
            registry=self.registry,
        )
        self.webhook_failures = Counter(
            "dunning_webhook_failures",
            "Webhook deliveries that were refused or could not be handled, by provider and reason",
            ["provider", "reason"],
            registry=self.registry,
        )
        self.webhook_seconds = Histogram(
            "dunning_webhook_seconds",
            "Time to answer a webhook",
            ["provider"],
            registry=self.registry,
        )

    def expose(self, counts: Counts | None) -> bytes:
        """All metrics as Prometheus text; without counts the ledger is reported as down."""
        ledger = CollectorRegistry()
        ledger.register(_LedgerCounts(counts))
        return generate_latest(self.registry) + generate_latest(ledger)


class _LedgerCounts(Collector):
    def __init__(self, counts: Counts | None) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        up = 0 if self._counts is None else 1
        yield GaugeMetricFamily("dunning_ledger_up", "Whether the ledger answers", value=up)
        if self._counts is None:
            return
        for field, (name, text, labels) in _FAMILIES.items():
            yield _family(name, text, labels, getattr(self._counts, field))


def _family(
    name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, str], int]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric([str(part) for part in key], value)
    return family
