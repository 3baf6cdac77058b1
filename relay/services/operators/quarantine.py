"""The quarantine: looking at webhooks that could not be parsed, retrying them and dropping them; for operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import structlog

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, NotFound
from relay.core.event import Dialect
from relay.core.event_filter import EventFilter
from relay.core.sharding.placement import ShardKey
from relay.linq.payloads.decode import decode
from relay.linq.payloads.shard_key import shard_key_in
from relay.services.dedupe_window import dedupe_window
from relay.services.page import DEFAULT_LIMIT, Page, bound_at, check_limit, page_of, place_of
from relay.store.driver.streams import SKEW_MS
from relay.store.inbox.claims import claim_of
from relay.store.inbox.former_claims import claimed_before
from relay.store.inbox.quarantine import Quarantine, QuarantinedBody, Readable, body_of
from relay.store.sharding.growth.fence import StalePlacement, WrongNumberOfShards
from relay.store.sharding.growth.watch import Placement, current_placement
from relay.store.sharding.shards import Shards
from relay.store.sharding.streams import Bounds, merged_shards

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.driver.client import Redis
    from relay.store.driver.merged_streams import Entry

_COUNT = 50  # bodies of up to 1 MiB that are read at a time
_ANY = EventFilter()

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Retried:
    """The result of a retry; of a dry run, `accepted` is what could be parsed."""

    accepted: int
    repeats: int
    """Duplicates of events that were accepted before."""
    unreadable: int


async def search(
    context: Context,
    principal: Principal,
    which: EventFilter = _ANY,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[QuarantinedBody]:
    """Return a page of quarantined webhooks, oldest first.

    Raises:
        Invalid: the cursor or the limit is wrong.
    """
    principal.require_operator()
    after, limit = place_of(cursor), check_limit(limit)
    since = bound_at(which.since_ms, SKEW_MS)

    def matching(entry: Entry) -> QuarantinedBody | None:
        body = body_of(entry.place.id.encode(), entry.fields)
        return body if which.matches(body.as_candidate()) else None

    entries = merged_shards(
        Shards.from_home(context.redis),
        lambda shard: {"": shard.key.quarantine},
        **Bounds(after=after, since=since, count=min(limit, _COUNT), max_count=_COUNT),
    )
    return await page_of(entries, limit, matching)


async def every(context: Context, principal: Principal, which: EventFilter = _ANY) -> AsyncIterator[QuarantinedBody]:
    """Yield all quarantined webhooks that match, oldest first; reads all of them."""
    principal.require_operator()
    async for _, body in _every(context, which):
        yield body


async def get(context: Context, principal: Principal, entry: str) -> QuarantinedBody:
    """Return a quarantined webhook.

    Raises:
        NotFound: there is none with that id.
    """
    principal.require_operator()
    for shard in context.redis.shards:
        if body := await Quarantine(shard).get(entry):
            return body
    raise NotFound(f'no quarantined webhook "{entry}"; it may have been retried or dropped')


async def retry(
    context: Context, principal: Principal, which: EventFilter, why: str = "", *, dry_run: bool = False
) -> Retried:
    """Parse quarantined webhooks again; those that can be parsed now are accepted as events."""
    principal.require_operator(Scope.ADMIN)
    # A dry run only looks, as a viewer may, and counts alike on whatever shards they would be accepted.
    window_ms = 0 if dry_run else (await dedupe_window(context)).ms
    placement = Placement(len(context.redis.shards)) if dry_run else await _placement(context, window_ms)
    found = [
        (shard, _parse(body, context.redis.shards, placement, context.now_ms))
        async for shard, body in _every(context, which)
    ]
    readable = [(shard, event) for shard, event in found if event is not None]
    accepted, repeats = len(readable), 0
    if readable and not dry_run:
        await context.record(principal, "quarantine retry", "quarantine", len(readable), why)
        try:
            accepted, repeats = await _retry(context, readable, placement, window_ms)
        except StalePlacement:
            raise Conflict("the number of shards has just changed; retry what is left") from None
    return Retried(accepted, repeats, len(found) - len(readable))


async def _placement(context: Context, window_ms: int) -> Placement:
    """Return how events are placed.

    Raises:
        Conflict: this process has another number of shards than the relay.
    """
    if not context.redis.others:
        return Placement(1)
    try:
        return await current_placement(context.redis, window_ms, context.now_ms, context.replication)
    except WrongNumberOfShards as error:
        raise Conflict(str(error)) from None


async def _retry(
    context: Context, readable: Iterable[tuple[Redis, _Event]], placement: Placement, window_ms: int
) -> tuple[int, int]:
    """Accept events, each on its shard; return the numbers of accepted ones and of duplicates."""
    by_shard: dict[Redis, list[Readable]] = {}
    known_before = 0
    for shard, event in readable:
        if event.former is not None and await _is_known(context, shard, event.former, event.body):
            known_before += 1
            continue
        entry: str | None = event.body.entry
        if shard is not event.shard:
            entry = await Quarantine(shard).move(event.body.entry, event.shard)
        if entry is not None:
            by_shard.setdefault(event.shard, []).append(event.body._replace(entry=entry))
    accepted, repeats = 0, known_before
    for shard, bodies in by_shard.items():
        new, known = await Quarantine(shard).retry(bodies, window_ms, context.now_ms, placement.shards)
        accepted, repeats = accepted + new, repeats + known
    return accepted, repeats


async def _is_known(context: Context, shard: Redis, former: Redis, body: Readable) -> bool:
    """Return True if the former shard of an event, which has moved since, has accepted it; the body is settled then."""
    quarantine = Quarantine(shard)
    if await quarantine.had_event(body.entry):  # it is in no topic, though its id is claimed
        return False
    [is_known] = await claimed_before(former, [(body.event_id, body.claim)], context.now_ms)
    if is_known:
        await quarantine.settle_repeat(body.entry)
    return is_known


async def drop(context: Context, principal: Principal, which: EventFilter, why: str, *, dry_run: bool = False) -> int:
    """Delete quarantined webhooks; return their number, which the ledger keeps."""
    principal.require_operator(Scope.ADMIN)
    entries: dict[Redis, list[str]] = {}
    async for shard, body in _every(context, which):
        entries.setdefault(shard, []).append(body.entry)
    found = sum(map(len, entries.values()))
    if dry_run or not found:
        return found
    await context.record(principal, "quarantine drop", "quarantine", found, why)
    dropped = sum([await Quarantine(shard).drop(of_shard) for shard, of_shard in entries.items()])
    log.warning("quarantine.dropped", bodies=dropped, why=why)
    return dropped


async def _every(context: Context, which: EventFilter) -> AsyncIterator[tuple[Redis, QuarantinedBody]]:
    """Yield the bodies that match, each with its shard."""
    for shard in context.redis.shards:
        async for body in Quarantine(shard).all():
            if which.matches(body.as_candidate()):
                yield shard, body


class _Event(NamedTuple):
    """A quarantined body that is readable now, and the shard of its key."""

    body: Readable
    shard: Redis
    former: Redis | None
    """The shard that may know it, if that is another."""


def _parse(body: QuarantinedBody, shards: Sequence[Redis], placement: Placement, now_ms: int) -> _Event | None:
    """Return the event of a quarantined body; None if it still cannot be parsed."""
    try:
        api, _, account = body.dialect.partition("/")
        dialect = Dialect(api)
        event = decode(dialect, body.body, body.line).event
        key = shard_key_in(dialect, body.body) if len(shards) > 1 else ShardKey(event.id)
        shard = placement.shard(key)
        former = placement.former_shard(key, shard, now_ms)
    except Exception:  # noqa: BLE001  a body that broke the router can break this too; it stays in quarantine
        return None
    claim = claim_of(dialect, body.line, body.body, account or None)
    readable = Readable(body.entry, event.id, event.type, claim)
    return _Event(readable, shards[shard], None if former is None else shards[former])
