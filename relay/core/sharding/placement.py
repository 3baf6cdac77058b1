"""The shard of an event.

A shard holds an event from its acceptance to its deliveries, and deduplicates by itself; no atomic step spans two. So
every copy of an event must go to the same shard, and so must all events of a chat, to keep their order.

An event goes by its `ShardKey`: the id of its chat; else, of an event about a phone number, that number; else the id of
the event. All three are in the body that Linq signed, and none depends on the URL. That follows from what a copy is
(`store.inbox.claims`):

    the same owner again          Linq's retry: other bytes are possible, but it is the same event, so also its chat
    another URL of the same API   only the same body is a copy, so whatever is read from the body is the same
    the other API                 never a copy: v2 and v3 have different bodies, and different ids for a chat
    from the ingress's quarantine its id is claimed only when the body can be read, and then its key can be read too
    from the router's quarantine  it was accepted, so its key was read: it stays on its shard and returns there

Two other choices were refuted:

* The line first, as the URL proves it. An event that comes through a line's URL and through that of the account, with
  the same body, would be accepted twice. And a line in the payload helps little: `message.failed`, reactions and typing
  have none, so the events of a chat would be on two shards, out of order, away from the chat -> line index that is to
  name their line. A company with one line would have one shard.
* The event id alone. It is the same for every copy, but a chat would be everywhere, without order.

What follows: what is kept by line (activity, rhythm, opt-outs) is on the first shard, apart from its events; what is
kept by chat or message is with them. Order holds within a chat, as it is promised; there was never one of a line.

How the key is read, and `shard_of`, are a layout of data, like the name of a key in Redis: while two releases run, or
when an event comes again after an upgrade, both must agree. A change of either moves chats between shards.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from relay.core.sharding.jump_hash import jump_hash

MAX_SHARDS = 64
"""The highest number of shards of a relay."""


class ShardKey(NamedTuple):
    """The parts of an event's body that name its shard."""

    event_id: str
    chat: str | None = None
    number: str | None = None
    """`phone_number` of the payload: a line, or of v2 contacts a customer."""

    def __str__(self) -> str:
        return self.chat or self.number or self.event_id


def shard_of(key: ShardKey, shards: int) -> int:
    """Return the number, from 0, of the shard that has the events with this key, of so many shards."""
    return 0 if shards == 1 else _shard_of(key.chat or key.number or key.event_id, shards)


@lru_cache(maxsize=4096)  # what happens in a chat comes close together
def _shard_of(key: str, shards: int) -> int:
    digest = sha256(key.encode(errors="surrogatepass")).digest()
    return jump_hash(int.from_bytes(digest[:8], "big"), shards)


def shard_of_chat(chat: str, shards: int) -> int:
    """Return the number of the shard that has the events of a chat."""
    return shard_of(ShardKey("", chat), shards)
