"""The links that messages carry, as far as the settings allow them."""

from __future__ import annotations

from activities.linking import PageLinks
from activities.unsubscribing import UnsubscribeLinks
from starter.settings import Settings


def page_links(settings: Settings) -> PageLinks | None:
    """How messages link to the customer's page; None while it has no address or no key."""
    base, secret = settings.public_base_url, settings.dunning_secret_key
    return PageLinks(base, secret.get_secret_value()) if base and secret else None


def unsubscribe_links(settings: Settings) -> UnsubscribeLinks | None:
    """The links, if the settings allow them: they need DUNNING_SECRET_KEY and PUBLIC_BASE_URL."""
    base, secret = settings.public_base_url, settings.dunning_secret_key
    return UnsubscribeLinks(base, secret.get_secret_value()) if base and secret else None
