"""The endpoints of a business with their signing secrets, checked as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dunning.case import Announcement
from dunning.endpoints import Endpoint, url_problem
from dunning.policy import PolicyError
from dunning.signing import parse_secret
from ledger.outgoing import Outgoing

_SECRETS = "DUNNING_ENDPOINT_SECRETS"


@dataclass(frozen=True)
class Endpoints:
    """Who is told of events, and with which keys that is signed. Made by `of`."""

    listed: tuple[Endpoint, ...] = ()
    keys: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    loopback: bool = False  # this machine may be told, too

    @classmethod
    def of(
        cls, listed: Sequence[Endpoint], secrets: Iterable[tuple[str, str]], *, loopback: bool = False
    ) -> Endpoints:
        """The endpoints of `business.yaml` with the secrets of the settings, each beside its endpoint's name.

        Raises PolicyError with one sentence for each endpoint that cannot be used.
        """
        keys: dict[str, tuple[bytes, ...]] = {}
        for name, secret in secrets:
            keys[name] = (*keys.get(name, ()), parse_secret(secret))
        problems = list(_problems(listed, keys, loopback))
        if problems:
            raise PolicyError("\n".join(problems))
        return cls(tuple(listed), keys, loopback)

    def named(self, name: str) -> Endpoint | None:
        """The endpoint of that name."""
        return next((endpoint for endpoint in self.listed if endpoint.name == name), None)

    def addressed(self, announcements: Sequence[Announcement]) -> list[Outgoing]:
        """The announcements that somebody wants to hear, with their names."""
        found = []
        for told in announcements if self.listed else ():
            names = tuple(endpoint.name for endpoint in self.listed if endpoint.wants(told.type))
            if names:
                found.append(Outgoing(announcement=told, endpoints=names))
        return found


#: No endpoint at all.
NOBODY = Endpoints()


def _problems(
    listed: Sequence[Endpoint], keys: Mapping[str, tuple[bytes, ...]], loopback: bool
) -> Iterator[str]:
    names = [endpoint.name for endpoint in listed]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"business.yaml: endpoints: {name} stands twice: every endpoint needs a name of its own"
    for endpoint in listed:
        problem = url_problem(endpoint.url, loopback=loopback)
        if problem:
            yield f"business.yaml: endpoints: {endpoint.name}: {endpoint.url!r} {problem}"
        if endpoint.name not in keys:
            yield f"{_SECRETS}: the endpoint {endpoint.name} has no secret: add {endpoint.name}:whsec_…"
    for name in keys:
        if name not in names:
            yield f"{_SECRETS}: business.yaml has no endpoint {name}: add it, or take its secret out"
