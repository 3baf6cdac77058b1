"""The consumer group of a topic: found or made, made again if it gets lost, and watched for events that were trimmed.

A group is lost when Redis fails over to a replica that did not have it yet, when its topic's stream is deleted, or when
an operator deletes it. Its place, in `relay:topic:<topic>:places`, is a little older than what it has acknowledged, so
a group that is made again there gets some events a second time, and misses none.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from ..errors import UnknownTopic
from ..names import keys_of, shard_prefix, shards_key
from .replies import group_of, missed_by, oldest_pending, place_of, stream_of, text_of
from .steps import Caller, Guess, Pause, Probe, optionally

if TYPE_CHECKING:
    from ..options import Options
    from .steps import Command, Steps

TOPIC_GRACE = 10.0
"""Seconds that a topic may be unknown: the relay may be about to read a new relay.toml."""
_PLACE_EVERY = 1.0  # seconds
_SAFE_MARGIN = 1000
"""Entries before the group's position from which trimming cannot pass it between two looks."""

_log = logging.getLogger(__package__.rpartition(".")[0])


class TopicGroup:
    """A consumer group on one shard, as one member sees it."""

    def __init__(self, options: Options, shard: int = 0) -> None:
        self.name, self.shard = options.group, shard
        self.keys = keys_of(options.topic, options.group, shard_prefix(options.key_prefix, shard))
        self.caller = Caller(self.keys.stream, shard)
        self.start = options.start
        """Position at which it begins, if it is new."""
        self.shards = 1
        """Shards of the relay, as far as the group on the first one has seen."""
        self.has_grown = False
        """True if there are more of them than are read."""
        self._must_warn = True
        self.missed = 0
        """Events that were trimmed before the group read them."""
        self.trimmed = 0
        """Events that were trimmed while they were pending."""
        self.restored = 0
        """The number of times that it was made again."""
        self.must_watch = True
        """True if trimming may reach the group's position soon: each read looks."""
        self._options = options
        self._is_topic_known = shard > 0  # the first shard has been asked
        self._counted = 0
        self._place = ""
        self._placed_at = 0.0

    def find_topic(self) -> Steps[None]:
        """Raise an error if the relay does not have the topic, even after a while; do nothing if no relay ran yet.

        Raises:
            UnknownTopic: the relay has no such topic, even after a while.
            ConsumerError: Redis refuses the credentials or a command.
        """
        began: float | None = None
        while not (self._is_topic_known or self.caller.is_stopping):
            known = yield from self._known_topics()
            if not known:
                return
            error = UnknownTopic(self._options.topic, known)
            if began is None:
                began = time.monotonic()
                _log.warning("%s; waiting %.0f s for it", error, TOPIC_GRACE)
            if time.monotonic() - began >= TOPIC_GRACE:
                raise error
            yield Pause(min(1.0, TOPIC_GRACE))

    def _known_topics(self) -> Steps[set[str] | None]:
        """Return the topics of the relay if this one is not among them; None if it is, or that cannot be known."""
        what = "looking for a topic"
        (names,) = yield from self.caller.insist(what, optionally(b"SMEMBERS", self.keys.topics))
        if isinstance(names, Exception):
            self._is_topic_known = True  # as far as it can be
            return None
        known = {text_of(name) for name in names}
        self._is_topic_known = self._options.topic in known
        if not self._is_topic_known:
            (reply,) = yield from self.caller.insist(what, Guess((b"XINFO", b"STREAM", self.keys.stream)))
            stream = stream_of(reply)
            self._is_topic_known = stream is not None and stream.added > 0
        return None if self._is_topic_known else known

    def count_shards(self) -> Steps[None]:
        """Find how many shards the relay has."""
        (reply,) = yield from self.caller.insist("looking for shards", self.look_for_shards())
        self.see_shards(reply)

    def look_for_shards(self) -> Command:
        """Return the command whose reply `see_shards` takes."""
        return optionally(b"GET", shards_key(self._options.key_prefix))

    def see_shards(self, reply: Any) -> None:
        """Note how many shards the relay has."""
        if isinstance(reply, Exception):
            if self._must_warn:
                self._must_warn = False
                text = "only the first shard is read, as the number of them is not known: %s; %s"
                _log.warning(text, reply, "`relay acl` prints the rights")
        elif reply is not None and (number := text_of(reply)).isdecimal() and int(number) > self.shards:
            self.shards, self.has_grown = int(number), True

    def exists(self) -> Steps[bool]:
        """Return True if the group exists."""
        looking = Probe((b"XINFO", b"GROUPS", self.keys.stream))
        (reply,) = yield from self.caller.insist("looking for a group", looking)
        return group_of(reply, self.name) is not None

    def make(self, *, was_lost: bool = False) -> Steps[None]:
        """Make the group unless it exists: at its last known place, if it has one."""
        (place,) = yield from self.caller.insist(
            "looking for a place", optionally(b"HGET", self.keys.places, self.name)
        )
        known = None if place is None or isinstance(place, Exception) else text_of(place)
        at = known or (self._options.start if was_lost else self.start)
        group = (self.keys.stream, self.name)
        made, _ = yield from self.caller.insist(
            "joining a group",
            Probe((b"XGROUP", b"CREATE", *group, at, b"MKSTREAM")),
            optionally(b"XGROUP", b"CREATECONSUMER", *group, self._options.member),  # to be seen while it waits
        )
        if isinstance(made, Exception):  # it exists
            return
        self._counted, self.must_watch, self._place = 0, True, ""
        if was_lost or known:
            self.restored += 1
            where = "its last known place" if known else "the start, as it has no known place"
            _log.warning("group %s of %s was lost; it is made again at %s: %s", self.name, self.keys.stream, where, at)

    def trimmed_among(self, entries: list[str]) -> Steps[list[str]]:
        """Return those of `entries` that no longer exist, and count them: they were trimmed while they were pending."""
        stream = self.keys.stream
        looks = [optionally(b"XRANGE", stream, entry, entry, b"COUNT", 1) for entry in entries]
        replies = yield from self.caller.insist("looking for trimmed events", *looks)
        trimmed = [entry for entry, reply in zip(entries, replies) if not reply and not isinstance(reply, Exception)]
        if trimmed:
            self.trimmed += len(trimmed)
            text = "group %s of %s: %d events were trimmed while they were pending, from %s on"
            _log.warning(text, self.name, stream, len(trimmed), trimmed[0])
            if self._options.on_lost is not None:
                self._options.on_lost("trimmed", len(trimmed))
        return trimmed

    def look(self) -> list[Command]:
        """Return commands whose replies `see` takes."""
        return [
            optionally(b"XINFO", b"GROUPS", self.keys.stream),
            optionally(b"XINFO", b"STREAM", self.keys.stream),
            optionally(b"XPENDING", self.keys.stream, self.name),
        ]

    def see(self, groups: Any, stream: Any, pending: Any) -> list[Command]:
        """Count what was trimmed before it was read; return the command that notes the group's place, if it is time."""
        group, info = group_of(groups, self.name), stream_of(stream)
        if group is None or info is None or isinstance(pending, Exception):
            self.must_watch = group is not None
            return []
        self.must_watch = group.read is None or group.read - info.removed < _SAFE_MARGIN
        if missed := missed_by(group, info, self._counted):
            self._counted = info.removed
            self._tell(missed)
        place = place_of(group, oldest_pending(pending))
        if place == self._place or time.monotonic() - self._placed_at < _PLACE_EVERY:
            return []
        self._place, self._placed_at = place, time.monotonic()
        return [optionally(b"HSET", self.keys.places, self.name, place)]

    def note_place(self) -> None:
        """Let the next look note the place, however short ago that was."""
        self._placed_at = 0.0

    def _tell(self, missed: int) -> None:
        count = max(missed, 1)
        self.missed += count
        number = "at least one event was" if missed < 0 else f"{missed} events were"
        _log.warning("group %s of %s: %s trimmed before it read them", self.name, self.keys.stream, number)
        if self._options.on_lost is not None:
            self._options.on_lost("missed", count)
