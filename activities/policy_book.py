"""The policies by name. Light on purpose: commands read policies, too, and need no provider's SDK for it."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from dunning.policy import Policy, PolicyError, parse_policy
from dunning.segments import Segments, parse_segments

BUSINESS_FILE = "business.yaml"
SEGMENTS_FILE = "segments.yaml"
#: What lies in the folder of policies and is none.
NOT_POLICIES = frozenset({BUSINESS_FILE, SEGMENTS_FILE})


class PolicyBook:
    """The policies by name: a file `<name>.yaml` of the business's folder, else one that the engine ships."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def load(self, name: str) -> Policy:
        """The policy called `name`. Raises PolicyError with a sentence that says what to change."""
        if not name.replace("-", "").replace("_", "").isalnum():
            raise PolicyError(f"{name!r} is not the name of a policy: write letters, digits, - and _")
        own = self._folder / f"{name}.yaml" if self._folder is not None else None
        if own is not None and own.is_file():
            policy = _policy(own.read_text(encoding="utf-8"), own.name)
        else:
            policy = _shipped_policy(name, str(self._folder) if self._folder else "")
        if policy.name != name:
            raise PolicyError(
                f"{name}.yaml: name is {policy.name!r}: a policy's file bears its name, rename one of them"
            )
        return policy

    def segments(self) -> Segments:
        """Which customers get which policy. Raises PolicyError with a sentence that says what to change."""
        path = self._folder / SEGMENTS_FILE if self._folder is not None else None
        if path is None or not path.is_file():
            return Segments()
        found = _segments(path.read_text(encoding="utf-8"), path.name)
        for segment in found.segments:
            self.load(segment.policy)
        return found


# A file is read each time, since its owner may change it, and parsed once.
_segments = lru_cache(maxsize=8)(parse_segments)
_policy = lru_cache(maxsize=64)(parse_policy)


@lru_cache(maxsize=64)
def _shipped_policy(name: str, folder: str) -> Policy:
    found = files("dunning") / "policies" / f"{name}.yaml"
    if not found.is_file():
        shipped = sorted(p.name.removesuffix(".yaml") for p in (files("dunning") / "policies").iterdir())
        where = f"neither in the policies folder {folder} nor " if folder else "not "
        raise PolicyError(
            f"There is no policy called {name!r}, {where}among those shipped ({', '.join(shipped)}): "
            "name another one, or add its file to the folder in DUNNING_POLICIES"
        )
    return _policy(found.read_text(encoding="utf-8"), f"{name}.yaml")
