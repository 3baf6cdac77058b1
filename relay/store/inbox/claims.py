"""Claims on event ids: the scope of deduplication.

Linq gives an event the same id on every retry and on every subscription that gets it, so the id alone tells whether an
event was seen. But an id proves nothing: the holder of one line's secret could claim the ids of another line's events
in advance, and those would be taken for duplicates. So an id is stored with the claims on it. A claim is the owner of
the Linq subscription whose secret verified the webhook (a line, the account, or v2), and a checksum of the body.

    the same owner            a duplicate, whatever the body: Linq does not promise that a retry has the same bytes
    another owner, same body  a duplicate, within one API: the event came through two of our URLs
    another owner and body    another event: it is accepted, counted and logged, and adds its own claim

An owner claims an id once, so the holder of a secret has one guess in 2^32 at the checksum of a body that is unknown to
the holder; a body that is known needs no guess, and is then accepted once, as the same content. That is why a checksum
is enough: CRC-32 takes 0.4 us for 1 kB, SHA-256 2 us, of about 40 us for an event.

Repeats are counted in the same place, so that they need no key of their own: the first repeat adds a record of the
length of a claim, whose owner is four zero bytes, with the number of repeats and the second of the last. An older
release takes it for the claim of another event.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from relay.core.event import Dialect, owner_of

CLAIM_BYTES = 12
"""Length of a claim; `claim.inc.lua` has it too. For a UUID, Valkey 9 takes 88 bytes a key, with a claim or without."""

_OWNER_BYTES = 4
_NOBODY = bytes(_OWNER_BYTES)
_UINT32 = 0xFFFFFFFF
_content = Struct("<II").pack
_repeats = Struct(">II").unpack
_SEEDS = {Dialect.V3: 3, Dialect.V2: 2}
"""Start values of the checksum: the same bytes at another API are another content."""


class Repeats(NamedTuple):
    """The repeats of an event, which were not accepted again."""

    times: int
    last_at: int
    """Unix seconds."""


def repeats_in(claims: bytes) -> Repeats | None:
    """Return the repeats that are noted among the claims on an id; None if there was none."""
    for at in range(0, len(claims), CLAIM_BYTES):
        owner, rest = claims[at : at + _OWNER_BYTES], claims[at + _OWNER_BYTES : at + CLAIM_BYTES]
        if owner == _NOBODY and len(rest) == CLAIM_BYTES - _OWNER_BYTES:
            return Repeats(*_repeats(rest))
    return None


def claim_of(dialect: Dialect, line: str | None, body: bytes, account: str | None = None) -> bytes:
    """Return the claim of a webhook that the secret of `line` (None: the account, or v2) has verified.

    The same line, or none, of another account of `[[linq.accounts]]` is another owner.
    """
    return _owner(dialect, line, account) + _content(crc32(body, _SEEDS[dialect]), len(body) & _UINT32)


@lru_cache(maxsize=65536)
def _owner(dialect: Dialect, line: str | None, account: str | None) -> bytes:
    return sha256(owner_of(dialect, line, account).encode()).digest()[:_OWNER_BYTES]
