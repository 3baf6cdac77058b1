"""Opt-outs that pass the router: with `[linq] opt_outs`, each STOP and START goes into the registry.

They are recorded before their batch is committed: a router that is killed in between has its successor record them
again, which changes nothing. Most messages cost one search in their bytes; only those with such a word are parsed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import structlog

from relay.core.event import Dialect, Event
from relay.linq.payloads.content import BodyContent
from relay.linq.payloads.instants import unix_ms
from relay.store import wakeups
from relay.store.driver.client import retry_until_redis_answers
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.isolation import Isolation, checking_types
from relay.store.lines.line_keys import LineKeys
from relay.store.lines.opt_outs import OptOutChange, record_opt_outs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.driver.client import Redis
    from relay.store.inbox.inbox import InboxEntry
    from workers.routing.decoder import Undecodable

# What can be white space, and more: what it lets through is parsed. Longer texts are no keywords (`payloads.opt_out`).
_SPACE = rb"(?:\\[nrtf]|\\u[0-9a-fA-F]{4}|[\x80-\xff\s]){0,1024}"
_WORD = re.compile(
    rb'\s*:\s*"' + _SPACE + rb"(?i:stop|stopall|unsubscribe|cancel|end|quit|start|unstop)" + _SPACE + b'"'
)
_PART, _TEXT = b'"value"', b'"text"'
"""Names of the fields that have a text: in the parts of a message, and in v2."""

_RECEIVED = "message.received"
_MAX_HANDLE = 254  # characters of an e-mail address (RFC 5321)

log = structlog.get_logger()


async def record_opt_outs_of(
    redis: Redis, entries: Sequence[InboxEntry], events: Sequence[Event | Undecodable], token: str, home: Redis
) -> None:
    """Record the opt-outs of a batch; without a command, if it has none. `token` is that of the router's lease.

    The first shard, `home`, has those of all: a handle may write in chats on several.

    Raises:
        LeaseLost: another router holds the lease.
    """
    changes = [
        change
        for entry, event in zip(entries, events, strict=True)
        if isinstance(event, Event)
        and event.type == _RECEIVED
        and event.line is not None
        and (_has_word(entry.body, _PART) or (entry.dialect is Dialect.V2 and _has_word(entry.body, _TEXT)))
        and (change := _change(event.line, event, entry)) is not None
    ]
    if not changes:
        return
    job_id = wakeups.route(redis.key).job_id
    keys, lines = LineKeys(home), {change.line for change in changes}
    types = {name: "zset" for line in lines for name in (keys.opt_outs(line), keys.opt_ins(line))}
    if home is not redis:  # the script, on the first shard, finds no lease of this one
        holder = await retry_until_redis_answers("reading a lease", lambda: redis.get(redis.key.lease(job_id)))
        if holder not in {None, token.encode()}:
            raise LeaseLost
    recording = retry_until_redis_answers(
        "recording opt-outs", lambda: checking_types(record_opt_outs(home, changes, home.key.lease(job_id), token))
    )
    await Isolation(home).contain("opt_outs", keys.opted_out_lines, recording, {keys.opted_out_lines: "set"} | types)
    log.info(
        "opt_outs.recorded",
        stop=sum(change.kind == "stop" for change in changes),
        start=sum(change.kind == "start" for change in changes),
    )


def _has_word(body: bytes, name: bytes) -> bool:
    """Return True if a field of this name is such a word: in every opt-out, and in little else; 2 us a message."""
    at = body.find(name)
    while at >= 0:
        if _WORD.match(body, at + len(name)):
            return True
        at = body.find(name, at + 1)
    return False


def _change(line: str, event: Event, entry: InboxEntry) -> OptOutChange | None:
    content = BodyContent(entry.body)
    kind, handle = content.opt_out, content.sender
    if kind is None or handle is None or len(handle) > _MAX_HANDLE:
        return None
    data = content.body["data"]
    accepted = entry.at_ms
    sent = unix_ms(data.get("sent_at")) or unix_ms(data.get("received_at")) or unix_ms(event.created_at) or accepted
    return OptOutChange(line, handle, kind, max(min(sent, accepted) if accepted else sent, 0))
