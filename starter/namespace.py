"""Setting up a namespace of Temporal: the search attributes that cases carry."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.common import SearchAttributeIndexedValueType
from temporalio.service import RPCError, RPCStatusCode

from starter.errors import EngineUnavailable, SettingsError
from workflows.search_attributes import KEYS

_TYPES = {
    SearchAttributeIndexedValueType.KEYWORD: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    SearchAttributeIndexedValueType.INT: IndexedValueType.INDEXED_VALUE_TYPE_INT,
    SearchAttributeIndexedValueType.DATETIME: IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
    SearchAttributeIndexedValueType.BOOL: IndexedValueType.INDEXED_VALUE_TYPE_BOOL,
}


@dataclass(frozen=True, slots=True)
class Registration:
    """Which search attributes were added, and which were there."""

    added: tuple[str, ...]
    present: tuple[str, ...]


async def register_search_attributes(client: Client) -> Registration:
    """Add the search attributes that the namespace lacks. Harmless to repeat.

    Raises SettingsError if one exists with another type, or if the server lets nobody add any (Temporal
    Cloud), and EngineUnavailable if it does not answer.
    """
    wanted = {key.name: _TYPES[key.indexed_value_type] for key in KEYS}
    try:
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
        there = dict(listed.custom_attributes)
        _refuse_other_types(wanted, there)
        missing = {name: kind for name, kind in wanted.items() if name not in there}
        if missing:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
            )
    except RPCError as error:
        raise _explained(error, client.namespace) from error
    return Registration(tuple(missing), tuple(name for name in wanted if name in there))


def _refuse_other_types(
    wanted: dict[str, IndexedValueType.ValueType], there: dict[str, IndexedValueType.ValueType]
) -> None:
    wrong = [name for name, kind in wanted.items() if there.get(name, kind) != kind]
    if wrong:
        raise SettingsError(
            [f"the search attribute {name} exists with another type: remove it first" for name in wrong]
        )


def _explained(error: RPCError, namespace: str) -> Exception:
    if error.status in (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.PERMISSION_DENIED):
        names = ", ".join(f"{key.name} ({key.indexed_value_type.name.title()})" for key in KEYS)
        return SettingsError([f"search attributes must be added by hand on this server: {names}"])
    if error.status == RPCStatusCode.NOT_FOUND:
        return SettingsError([f"there is no namespace {namespace!r}: create it, or mend TEMPORAL_NAMESPACE"])
    return EngineUnavailable(f"search attributes cannot be registered: {error.message}")
