"""Renewal of a member's claims, so that no other member takes its events."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ..names import order_of
from .claims import claimed_together
from .replies import ids_of, pending_of

if TYPE_CHECKING:
    from .reading import Reading
    from .steps import Steps

_PAGE = 100


def renew(reading: Reading) -> Steps[None]:
    """Renew a member's claims; notice events that it no longer has, and pending ones that it does not know.

    Events that have been idle for so long that another member may claim them in the same moment are claimed as they
    were seen: those that are taken meanwhile belong to the other member.
    """
    ahead, held = {event.stream_id for event in list(reading.buffer)}, list(reading.held)
    known = ahead.union(held)
    insist = reading.group.caller.insist
    (reply,) = yield from insist("renewing claims", reading.pending_for(reading.member, len(known) + _PAGE))
    if isinstance(reply, Exception):
        return
    rows = {row.entry: row for row in pending_of(reply)}
    if rows.keys() - known:
        reading.must_resync = True
    lost = known - rows.keys()
    for least_idle, mine in claimed_together(
        (rows[entry] for entry in rows if entry in known), reading.claims.claim_ms
    ):
        (renewed,) = yield from insist("renewing claims", reading.claim_of(least_idle, *mine, b"JUSTID"))
        missing = set() if isinstance(renewed, Exception) else set(mine).difference(ids_of(renewed))
        if least_idle:
            lost |= missing
            yield from reading.gone(sorted(missing & ahead, key=order_of))
        else:
            reading.orphans |= missing
    reading.orphans &= known
    for event in [event for event in list(reading.buffer) if event.stream_id in lost - reading.orphans]:
        with contextlib.suppress(ValueError, IndexError):  # given out meanwhile, by another thread
            reading.buffer.remove(event)
    reading.note(renewed=True)
