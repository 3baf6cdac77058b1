"""Looks at the subscriptions made by the API, without their secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, NotFound
from relay.core.net.masked_url import masked_url
from relay.services.deliveries.stored_subscriptions.tables import NAMED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.access.principal import Principal
    from relay.rules.merge import View
    from relay.services.context import Context
    from relay.store.stored_subscriptions.record import StoredSubscription

_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class StoredState:
    """A subscription made by the API."""

    name: str
    team: str | None
    """None if it belongs to the operators."""
    topic: str
    url: str
    """Without values of its query."""
    table: Mapping[str, Any]
    """Its table as TOML would have it, without name, topic, url, team and secret; values of `headers` and `auth` are
    `***`.
    """
    secret_ends: tuple[int | None, ...]
    """The end of each signing secret that is valid now, newest first, Unix milliseconds; None for one that stays."""
    version: int
    created_at: int
    """Unix milliseconds."""
    created_by: str
    changed_at: int
    changed_by: str
    unusable: str | None
    """The reason why it is not in force; None if it is."""


async def list_stored(context: Context, principal: Principal) -> list[StoredState]:
    """Return the subscriptions made by the API that the principal sees, by name.

    Raises:
        Forbidden: the scope `read` is missing.
    """
    principal.require(Scope.READ)
    view = await context.rules.view()
    records = sorted(view.stored.values(), key=lambda record: record.name)
    return [
        state_of(record, view, context.now_ms)
        for record in records
        if principal.owns(record.team) and not record.deleted
    ]


async def find(context: Context, principal: Principal, name: str) -> StoredState:
    """Return a subscription made by the API.

    Raises:
        Forbidden: the scope `read` is missing.
        NotFound: there is none of that name that the principal sees.
        Conflict: it is in relay.toml.
    """
    principal.require(Scope.READ)
    view = await context.rules.view()
    return state_of(stored_record(view, principal, name), view, context.now_ms)


def stored_record(view: View, principal: Principal, name: str) -> StoredSubscription:
    """Return the record of a subscription that can be changed.

    Raises:
        NotFound: there is none of that name that the principal sees.
        Conflict: it is in relay.toml, or its record is damaged.
    """
    record = view.stored.get(name)
    if record is not None and principal.owns(record.team) and not record.deleted:
        return record
    in_file = {known.name: known for known in view.file.subscriptions}
    if name in in_file and principal.owns(in_file[name].team):
        raise Conflict(f"{name} is in relay.toml; change it there")
    if principal.is_operator and name in view.unusable:
        raise Conflict(f"{name} cannot be changed: {view.unusable[name]}")
    raise NotFound(f'no subscription "{name}"')


def state_of(record: StoredSubscription, view: View, now_ms: int) -> StoredState:
    """Return what may be shown of a record."""
    table = {key: value for key, value in record.table.items() if key not in {"topic", "url", "team"}}
    table |= {key: dict.fromkeys(table[key], _HIDDEN) for key in NAMED if isinstance(table.get(key), dict)}
    unusable = view.unusable.get(record.name)
    topic = next((each.topic for each in view.config.subscriptions if each.name == record.name), "")
    if record.name in view.shadowed:
        unusable = "relay.toml has a subscription of that name, which counts"
    return StoredState(
        name=record.name,
        team=record.team,
        topic=str(record.table.get("topic") or topic),
        url=masked_url(str(record.table.get("url", ""))),
        table=table,
        secret_ends=tuple(record.secret_ends[at] for at in record.live(now_ms)),
        version=record.version,
        created_at=record.created_at,
        created_by=record.created_by,
        changed_at=record.changed_at,
        changed_by=record.changed_by,
        unusable=unusable,
    )
