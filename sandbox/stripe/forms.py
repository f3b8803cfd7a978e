"""Stripe's form encoding: nested brackets in, typed values out.

Stripe's v1 API takes `application/x-www-form-urlencoded` with names such as `items[0][price]=price_1`,
`expand[]=customer` and `metadata[plan]=pro` (Stripe API reference, "Request bodies").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from sandbox.stripe.errors import parameter_invalid, parameter_missing, parameter_unknown

_NAME = re.compile(r"^([^\[\]]+)((?:\[[^\[\]]*\])*)$")
_PART = re.compile(r"\[([^\[\]]*)\]")


def parse(encoded: str) -> dict[str, Any]:
    """Turn a form body or a query string into nested dicts and lists of strings.

    Raises StripeError 400 for a name whose brackets do not close.
    """
    root: dict[str, Any] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        matched = _NAME.match(name)
        if matched is None:
            raise parameter_invalid(name, f"Invalid parameter name: {name}")
        _put(root, [matched.group(1), *_PART.findall(matched.group(2))], value, name)
    return root


def _put(root: dict[str, Any], keys: list[str], value: str, name: str) -> None:
    node: Any = root
    for position, key in enumerate(keys):
        last = position == len(keys) - 1
        following: Any = value if last else ([] if keys[position + 1] == "" else {})
        if isinstance(node, list):
            # `a[][b]=1&a[][c]=2` describes one element until a name repeats.
            if last:
                node.append(value)
                return
            if not node or keys[position + 1] in node[-1]:
                node.append({})
            node = node[-1]
            continue
        if last:
            node[key] = value
            return
        node = node.setdefault(key, following)
        if not isinstance(node, (dict, list)):
            raise parameter_invalid(name, f"Invalid parameter: {name} is given both a value and children.")


class Params:
    """Typed reading of decoded parameters; every refusal names the parameter as the caller wrote it."""

    def __init__(self, values: dict[str, Any], prefix: str = "") -> None:
        self.values = values
        self._prefix = prefix

    def name(self, key: str) -> str:
        """The full name of `key`, such as `items[0][price]`."""
        return f"{self._prefix}[{key}]" if self._prefix else key

    def has(self, key: str) -> bool:
        """Whether the caller sent `key`, an empty value included."""
        return key in self.values

    def only(self, accepts: Iterable[str]) -> None:
        """Refuse names outside `accepts`, as Stripe does (`parameter_unknown`)."""
        known = set(accepts)
        for key in self.values:
            if key not in known:
                raise parameter_unknown(self.name(key), sorted(known))

    def text(self, key: str) -> str | None:
        """The text, or None when absent or empty (an empty value unsets)."""
        value = self.values.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise parameter_invalid(self.name(key), f"Invalid string: {self.name(key)}")
        return value

    def required(self, key: str) -> str:
        """The text; raises `parameter_missing` when absent or empty."""
        value = self.text(key)
        if value is None:
            raise parameter_missing(self.name(key))
        return value

    def integer(self, key: str) -> int | None:
        """The integer, or None when absent or empty."""
        value = self.text(key)
        if value is None:
            return None
        try:
            return int(value)
        except ValueError:
            raise parameter_invalid(
                self.name(key), f"Invalid integer: {value}", code="parameter_invalid_integer"
            ) from None

    def boolean(self, key: str, default: bool = False) -> bool:
        """The boolean, or `default` when absent."""
        value = self.text(key)
        if value is None:
            return default
        if value not in ("true", "false"):
            raise parameter_invalid(self.name(key), f"Invalid boolean: {value}")
        return value == "true"

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str | None:
        """One of `allowed`, or `default` when absent."""
        value = self.text(key)
        if value is None:
            return default
        if value not in allowed:
            raise parameter_invalid(
                self.name(key), f"Invalid {self.name(key)}: must be one of {', '.join(allowed)}"
            )
        return value

    def child(self, key: str, accepts: str = "") -> Params | None:
        """The nested object; names outside the space-separated `accepts` are refused. None when absent."""
        value = self.values.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, dict):
            raise parameter_invalid(self.name(key), f"Invalid object: {self.name(key)}")
        child = Params(value, self.name(key))
        if accepts:
            child.only(accepts.split())
        return child

    def children(self, key: str, accepts: str) -> list[Params]:
        """The nested array of objects, in order; empty when absent."""
        children = []
        for index, value in self._sequence(key):
            child = Params(value, f"{self.name(key)}[{index}]")
            if not isinstance(value, dict):
                raise parameter_invalid(child.name(""), f"Invalid object: {self.name(key)}[{index}]")
            child.only(accepts.split())
            children.append(child)
        return children

    def texts(self, key: str) -> list[str]:
        """The array of strings, in order; empty when absent."""
        return [str(value) for _, value in self._sequence(key)]

    def _sequence(self, key: str) -> list[tuple[int, Any]]:
        value = self.values.get(key)
        if value is None or value == "":
            return []
        if isinstance(value, dict) and all(part.isdigit() for part in value):
            value = [value[part] for part in sorted(value, key=int)]
        if not isinstance(value, list):
            raise parameter_invalid(self.name(key), f"Invalid array: {self.name(key)}")
        return list(enumerate(value))

    def metadata(self, current: dict[str, str] | None = None) -> dict[str, str]:
        """`current` merged with what was sent: an empty value removes a key, an empty `metadata` all keys."""
        if not self.has("metadata"):
            return dict(current or {})
        sent = self.values["metadata"]
        if sent == "":
            return {}
        if not isinstance(sent, dict) or not all(isinstance(value, str) for value in sent.values()):
            raise parameter_invalid(self.name("metadata"), "Invalid metadata: keys and values are strings.")
        merged = {**(current or {}), **sent}
        return {key: value for key, value in merged.items() if value != ""}

    def plain(self, key: str) -> dict[str, Any] | None:
        """A nested object taken over as it was sent (addresses and the like), empty values as null."""
        child = self.child(key)
        return None if child is None else {name: value or None for name, value in child.values.items()}
