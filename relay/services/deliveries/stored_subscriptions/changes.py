"""Changes of the subscriptions made by the API, which workers follow within seconds.

A change is refused if it was made from a version that is no longer the stored one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.core.access.scopes import Scope
from relay.core.config.endpoint import MAX_SECRETS
from relay.core.durations import format_duration
from relay.core.errors import Conflict, Invalid, Problem, StoreError
from relay.core.secret import new_secret
from relay.rules.cipher import cipher_of
from relay.services.deliveries.stored_subscriptions.admission import (
    check_access,
    check_exclusive,
    check_number,
    free_name,
    own_keys,
    team_of_original,
)
from relay.services.deliveries.stored_subscriptions.looks import StoredState, state_of, stored_record
from relay.services.deliveries.stored_subscriptions.tables import NAMED, check, split
from relay.store.lanes.lane import Lane
from relay.store.lanes.position import lane_names
from relay.store.stored_subscriptions.hash import StoredSubscriptions, conflict
from relay.store.stored_subscriptions.record import NO_KEY, SecretValues, StoredSubscription, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.keyring.encryption import Cipher

MAX_OVERLAP = 30 * 24 * 3600.0
"""The longest time for which a former signing secret stays valid, seconds."""

_FIXED = ("name", "secret")


@dataclass(frozen=True, slots=True)
class Changed:
    """A subscription after a change."""

    state: StoredState
    secret: str | None = None
    """A signing secret that was generated; it cannot be read again."""


async def create(context: Context, principal: Principal, table: Mapping[str, Any], why: str = "") -> Changed:
    """Create a subscription from a table as relay.toml would have it, with literal values; None stands for no key.

    Without `secret`, one is generated. A team's token makes subscriptions of its own team.

    Raises:
        Forbidden: the scope `subscribe` is missing.
        Invalid: the table has mistakes; names the key of each.
        Conflict: the name is taken.
        TooMany: there are too many.
    """
    principal.require(Scope.SUBSCRIBE)
    cipher, view, now = _cipher(context), await context.rules.view(), context.now_ms
    wanted = {key: value for key, value in table.items() if value is not None}
    generated = None if "secret" in wanted else new_secret()
    if generated is not None:
        wanted["secret"] = generated
    if not principal.is_operator:
        wanted.setdefault("team", principal.team)
    elif (team := team_of_original(view, wanted)) is not None:
        wanted.setdefault("team", team)
    public, values = split(wanted)
    check_access(principal, view, public)
    name = wanted.get("name")
    record = StoredSubscription(
        name=name if isinstance(name, str) else "",
        version=1,
        table=public,
        secret_ends=(None,) * len(values.secrets),
        created_at=now,
        created_by=principal.name,
        changed_at=now,
        changed_by=principal.name,
        **seal(cipher, values),
    )
    checked = check(record, values, view, now)
    check_exclusive(principal, view, checked)
    record = record.model_copy(update={"table": own_keys(public)})
    former = await free_name(context, principal, view, record)
    check_number(view, record)
    record = record.model_copy(update={"version": former + 1})
    await context.record(principal, "subscriptions create", record.name, why=why)
    await StoredSubscriptions(context.redis).put(record, former)
    # From now on, and not only from when a worker notices it, its events wait for it.
    for shard in context.redis.shards:
        await Lane(shard, record.name, checked.topic).ensure()
    return await _changed(context, record, generated)


async def change(
    context: Context,
    principal: Principal,
    name: str,
    patch: Mapping[str, Any],
    version: int | None = None,
    why: str = "",
) -> Changed:
    """Change keys of a subscription: `patch` has their new values, and None for those to remove (RFC 7396).

    A patch of what it has already changes nothing, and leaves its version. `version` is the one that the patch was made
    from; None for any.

    Raises:
        Forbidden: the scope `subscribe` is missing.
        NotFound: there is none of that name.
        Invalid: a new value is wrong; names the key.
        Conflict: it is in relay.toml, or has changed since `version`.
    """
    principal.require(Scope.SUBSCRIBE)
    cipher, view, now = _cipher(context), await context.rules.view(), context.now_ms
    record = stored_record(view, principal, name)
    _check_version(record, version)
    if fixed := [key for key in _FIXED if key in patch]:
        raise Invalid(*(Problem(key, _why_fixed(key)) for key in fixed))
    values = _values(cipher, record)
    full: dict[str, Any] = {**record.table, **{key: dict(getattr(values, key)) for key in NAMED if key in record.table}}
    public, new = split(_patched(full, patch))
    check_access(principal, view, public)
    new = SecretValues(values.secrets, new.headers, new.auth)
    changed = _next(record, principal, now, table=public, **seal(cipher, new))
    checked = check(changed, new, view, now)
    public = own_keys(public)
    changed = changed.model_copy(update={"table": public})
    if public == record.table and new == values:
        return await _changed(context, record)
    check_exclusive(principal, view, checked)
    check_number(view, changed)
    await context.record(principal, "subscriptions change", f"{name} ({', '.join(sorted(patch))})", why=why)
    await StoredSubscriptions(context.redis).put(changed, record.version)
    return await _changed(context, changed)


async def rotate_secret(
    context: Context,
    principal: Principal,
    name: str,
    overlap: float,
    version: int | None = None,
    secret: str | None = None,
) -> Changed:
    """Replace the signing secret; the former ones sign as well until `overlap`, seconds, has passed.

    Without `secret`, one is generated.

    Raises:
        Forbidden: the scope `subscribe` is missing.
        NotFound: there is none of that name.
        Invalid: the overlap or the secret is wrong.
        Conflict: it is in relay.toml, has changed since `version`, or too many secrets are valid.
    """
    principal.require(Scope.SUBSCRIBE)
    if not 0 <= overlap <= MAX_OVERLAP:
        raise Invalid(Problem("overlap", f"it must be from 0 to {format_duration(MAX_OVERLAP)}"))
    cipher, view, now = _cipher(context), await context.rules.view(), context.now_ms
    record = stored_record(view, principal, name)
    _check_version(record, version)
    values = _values(cipher, record)
    end = now + round(overlap * 1000)
    kept = [(values.secrets[at], min(end, record.secret_ends[at] or end)) for at in record.live(now)]
    kept = [(text, until) for text, until in kept if until > now]
    if len(kept) >= MAX_SECRETS:
        raise Conflict(f"{name} has {MAX_SECRETS} valid secrets; wait until one has ended, or rotate without overlap")
    generated = new_secret() if secret is None else None
    _, given = split({"secret": secret or generated})
    new = SecretValues((*given.secrets, *(text for text, _ in kept)), values.headers, values.auth)
    ends = (None, *(until for _, until in kept))
    changed = _next(record, principal, now, secret_ends=ends, **seal(cipher, new))
    check(changed, new, view, now)
    await context.record(principal, "subscriptions rotate", name)
    await StoredSubscriptions(context.redis).put(changed, record.version)
    return await _changed(context, changed, generated)


async def delete(context: Context, principal: Principal, name: str, why: str, version: int | None = None) -> None:
    """Delete a subscription. What waits for it, and its dead letters, stay until its lane is dropped.

    Raises:
        Forbidden: the scope `subscribe` is missing.
        NotFound: there is none of that name.
        Invalid: the reason is missing.
        Conflict: it is in relay.toml, or has changed since `version`.
    """
    principal.require(Scope.SUBSCRIBE)
    if not why.strip():
        raise Invalid(Problem("why", "give the reason for deleting it; the audit records it"))
    view, stored = await context.rules.view(), StoredSubscriptions(context.redis)
    if principal.is_operator and name in view.unusable and name not in view.stored:  # a damaged record
        await context.record(principal, "subscriptions delete", name, why=why)
        await stored.forget(name)
        return
    record = stored_record(view, principal, name)
    _check_version(record, version)
    await context.record(principal, "subscriptions delete", name, why=why)
    if name in await lane_names(context.redis) and not view.is_in_file(name):
        kept = {"team": record.team} if record.team else {}
        emptied = {"table": kept, "sealed": "", "key_id": "", "secret_ends": (), "deleted": True, "why": why}
        await stored.put(_next(record, principal, context.now_ms, **emptied), record.version)
    elif not await stored.forget(name, record.version):
        raise Conflict(f"{name} was changed meanwhile; look at it and delete it again")


def _check_version(record: StoredSubscription, version: int | None) -> None:
    if version is not None and version != record.version:
        raise conflict(record.name, record.version)


def _cipher(context: Context) -> Cipher:
    cipher = cipher_of(context.settings)
    if cipher is None:
        raise Conflict(NO_KEY)
    return cipher


def _values(cipher: Cipher, record: StoredSubscription) -> SecretValues:
    try:
        return unseal(cipher, record)
    except StoreError as error:
        raise Conflict(f"{record.name} cannot be changed: {error}") from None


def _patched(table: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table after a merge patch (RFC 7396)."""
    patched = dict(table)
    for key, value in patch.items():
        former = table.get(key)
        if value is None:
            patched.pop(key, None)
        elif isinstance(value, dict) and isinstance(former, dict):
            patched[key] = _patched(former, value)
        else:
            patched[key] = value
    return {key: value for key, value in patched.items() if key not in NAMED or value != {}}


def _why_fixed(key: str) -> str:
    return "a name cannot change; create another subscription" if key == "name" else "rotate it instead"


def _next(record: StoredSubscription, principal: Principal, now_ms: int, **update: Any) -> StoredSubscription:
    changed = {"version": record.version + 1, "changed_at": now_ms, "changed_by": principal.name}
    return record.model_copy(update=update | changed)


async def _changed(context: Context, record: StoredSubscription, secret: str | None = None) -> Changed:
    return Changed(state_of(record, await context.rules.view(), context.now_ms), secret)
