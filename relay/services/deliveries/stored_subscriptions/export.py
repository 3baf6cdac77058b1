"""Subscriptions made by the API as `[[subscriptions]]` tables of TOML, to move them into relay.toml."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, StoreError
from relay.rules.cipher import cipher_of
from relay.services.deliveries.stored_subscriptions.looks import stored_record
from relay.services.deliveries.stored_subscriptions.tables import NAMED
from relay.store.stored_subscriptions.record import unseal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.stored_subscriptions.record import StoredSubscription

_FIRST = ("name", "topic", "team", "url")
_is_bare = re.compile(r"[A-Za-z0-9_-]+").fullmatch


async def export(context: Context, principal: Principal, name: str | None = None, *, with_secrets: bool = False) -> str:
    """Return the subscriptions that the principal sees, or the one of that name, as TOML.

    A secret value is a reference to a variable named after the subscription (`env:CRM_SECRET`); with `with_secrets` it
    is the value itself, which only an operator may read.

    Raises:
        Forbidden: the scope is missing, or the secrets are not for the principal.
        NotFound: there is none of that name.
        Conflict: it is in relay.toml, or the secrets cannot be decrypted.
    """
    principal.require(Scope.READ)
    view = await context.rules.view()
    records = [
        record
        for record in view.stored.values()
        if principal.owns(record.team) and not record.deleted and name in {None, record.name}
    ]
    if name is not None and not records:
        stored_record(view, principal, name)
    if with_secrets:
        principal.require_operator(Scope.ADMIN)
        await context.record(principal, "subscriptions export", name or "all with their secrets", len(records))
    tables = [_table(context, record, with_secrets=with_secrets) for record in sorted(records, key=lambda r: r.name)]
    return "\n".join(f"[[subscriptions]]\n{''.join(_lines(table))}" for table in tables)


def _table(context: Context, record: StoredSubscription, *, with_secrets: bool) -> dict[str, Any]:
    """Return a table with literal values or references."""
    live = record.live(context.now_ms)
    table = {**record.table, "name": record.name}
    if with_secrets:
        try:
            values = unseal(cipher_of(context.settings), record)
        except StoreError as error:
            raise Conflict(f"{record.name} cannot be exported with its secrets: {error}") from None
        secrets = [values.secrets[at] for at in live]
        table |= {key: dict(getattr(values, key)) for key in NAMED if key in table}
    else:
        secrets = [_variable(record.name, "SECRET", *([] if at == live[0] else ["FORMER", str(at)])) for at in live]
        table |= {
            key: {name: _variable(record.name, name) for name in record.table[key]} for key in NAMED if key in table
        }
    first = {key: table.pop(key) for key in _FIRST if key in table}
    return first | {"secret": secrets[0] if len(secrets) == 1 else secrets} | table


def _variable(*words: str) -> str:
    return "env:" + re.sub(r"[^A-Z0-9]+", "_", "_".join(words).upper()).strip("_")


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        yield f"{_key(key)} = {_toml(value)}\n"


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{ " + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case str():
            # A string of JSON is a basic string of TOML, but for one character (https://toml.io/en/v1.0.0#string).
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case _:
            return str(value)


def _key(key: str) -> str:
    return key if _is_bare(key) else _toml(key)
