"""Names and numbers that all readers of a topic share, in every language and over HTTP."""

from __future__ import annotations

import re
from typing import NamedTuple

DEFAULT_PREFIX = "relay"
PUSH_GROUP_PREFIX = "push:"
"""Groups of the relay itself, one for each push subscription."""
RESERVED_MEMBERS = "relay:"

RETURNED = "relay:returned"
"""The consumer of a group that holds the events which members have handed back, until the next one takes them."""
LONG_IDLE_MS = 10 * 365 * 24 * 3600 * 1000
"""Idle time that marks an event which was handed back: longer than any claim waits."""
CLAIM_AFTER = 60.0
"""Seconds after which the events of a member that is silent are taken over."""
MAX_DELIVERIES = 10
"""Deliveries of an event; after that it goes to the dead letters of its group."""
MAX_DEAD_LETTERS = 100_000
"""Dead letters of a group that are kept."""
MAX_ERROR = 500
"""Characters of `dead_error`."""
PREFETCH = 10
"""Events that a member reads ahead at first."""
MAX_PREFETCH = 100
"""Events that a member reads ahead if it is fast."""

_LAST_SEQUENCE = 2**64 - 1
_HTTP_MEMBER = re.compile(r"relay:http:(\d+):")


class Keys(NamedTuple):
    """The keys of a group in Redis."""

    stream: str
    places: str
    """Hash: where each group of the topic resumes if it gets lost."""
    dead: str
    """Stream: the dead letters of the group."""
    topics: str
    """Set: the topics that the relay has."""


def tagged(prefix: str) -> str:
    """Return the prefix of keys on a Redis Cluster, where it is a hash tag."""
    return prefix if prefix.startswith("{") else f"{{{prefix}}}"


def shard_prefix(prefix: str, shard: int) -> str:
    """Return the prefix of the keys of a shard: the first one's is the relay's own."""
    if not shard:
        return prefix
    return f"{prefix[:-1]}/{shard}}}" if prefix.endswith("}") else f"{prefix}/{shard}"


def shards_key(prefix: str) -> str:
    """Return the key of the number of shards; without it there is one."""
    return f"{prefix}:shards"


def keys_of(topic: str, group: str, prefix: str = DEFAULT_PREFIX) -> Keys:
    """Return the keys of `group` of `topic`; `prefix` is that of a shard."""
    stream = f"{prefix}:topic:{topic}"
    return Keys(stream, f"{stream}:places", f"{prefix}:dead:{topic}:{group}", f"{prefix}:topics")


def order_of(entry: str) -> tuple[int, int]:
    """Return the sort key of a stream id."""
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence or 0)


def id_before(entry: str) -> str:
    """Return the greatest stream id below `entry`: the position of a group that gets `entry` next."""
    milliseconds, sequence = order_of(entry)
    if sequence:
        return f"{milliseconds}-{sequence - 1}"
    return f"{milliseconds - 1}-{_LAST_SEQUENCE}" if milliseconds else "0-0"


def least_idle_of(holder: str, claim_after_ms: int) -> int:
    """Return the idle time, in ms, from which an event that the consumer `holder` has may be taken over."""
    if holder == RETURNED:
        return LONG_IDLE_MS // 2
    timeout = _HTTP_MEMBER.match(holder)
    return int(timeout[1]) if timeout else claim_after_ms
