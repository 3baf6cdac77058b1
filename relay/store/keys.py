"""Every Redis key of the relay, what it holds, how long it lives and why.

The events' way
    relay:inbox                 stream    accepted events; an entry is deleted in the step that routes it
    relay:seen:<event id>       string    the dedupe; lives for RELAY_DEDUPE_WINDOW (Linq itself tries for 30 min)
    relay:aside                 stream    signed by Linq, but unreadable; until a person drops or retries it (256 MiB)
    relay:topic:<topic>         stream    routed events, the public interface for pull subscribers
    relay:topics                set       names of topics that were ever fed

A push subscription's lane (its place in its topic)
    relay:lane:<name>           hash      counters of the ledger, and its place in each topic stream (`store.place`)
    relay:lane:<name>:retries   zset      deliveries that wait for their next attempt, by due time (ms)
    relay:lane:<name>:tries     hash      what the attempts so far were, while a delivery is not settled
    relay:lane:<name>:replay    stream    what a person sent again: dead letters, and a topic's history
    relay:lane:<name>:dead      stream    dead letters, oldest first, until a person replays them
    relay:lane:<name>:held_up   hash      chats that a dead letter or its replay holds up (`block_on_dead`)
    relay:lane:<name>:attempts  stream    what was tried and what came of it (`store.remembered`), by the time it was
                                          settled; as long and as much as the subscription's `attempts` says
    relay:lane:<name>:answers   stream    the words of those that failed, under the same ids
    relay:lanes                 set       names of lanes that ever existed: dead letters outlive their subscription
    relay:paused                hash      lanes that are paused, with since when and why
    relay:trips                 hash      lanes whose breaker is not closed, with its state (`core.breaker`)

Who works, and who is to be woken
    relay:slot:<n>:ready        zset      lanes of a slot that have something new; a set, so that ringing twice is once
    relay:lease:<job>           string    who drains; expires seconds after its holder stopped beating
    relay:prepared              string    the router's mark that the lanes' groups stand; it goes with them if Redis
                                          loses its data, and nothing is routed until they are made again
    arq:job:<job>, relay:arq    arq's     the bell of a drain job and the queue it hangs in (arq's own format)

    relay:arq:slow              arq's     the queue of jobs that take long (`workers.runtime.queues`)

Topics' history that is sent to a lane again (`store.replays`)
    relay:replay:<id>           hash      one replay: what, to whom, how far; forgotten a week after its end
    relay:replays               zset      the last hundred that were started, by when (ms)
    relay:replays:running       set       those that have not ended

Whose line a chat is (`store.chat_lines`; forgotten 90 days after the last proof, at most a million chats)
    relay:chats                 hash      line by chat, `v3:<chat id>` or `v2:<chat id>`
    relay:chats:proved          zset      the same chats by the last event that proved the line (ms, to the hour)
    relay:chats:teacher         string    the lease token that stored last: for all others what they cache may be old

Everything else
    relay:keyring               hash      sealed signing secrets of our Linq subscriptions, by Linq's id of them
    relay:keyring:lock          string    held by whoever changes subscriptions at Linq (redis-py's lock)
    relay:linq:v2               string    a fingerprint of the secret that our v2 subscription was given last; Linq
                                          never shows it, and a changed LINQ_V2_WEBHOOK_SECRET has to be sent
    relay:heard                 hash      when each line's last event was verified, and by which generation's secret
    relay:drift                 hash      what the last check found different at Linq, by API: `v3:missing`, `v2:at`
    relay:counts                hash      accepted, duplicate, aside, routed, unmatched, poisoned, aside_dropped
    relay:unmatched             hash      events that no topic wanted, by event type

No key is hash-tagged: arq's own keys are not either, so Redis Cluster is out; growth past one primary is several
relays.
"""

from __future__ import annotations

INBOX = "relay:inbox"
PREPARED = "relay:prepared"
ASIDE = "relay:aside"
SEEN_PREFIX = "relay:seen:"
TOPICS = "relay:topics"
LANES = "relay:lanes"
PAUSED = "relay:paused"
TRIPS = "relay:trips"
KEYRING = "relay:keyring"
KEYRING_LOCK = "relay:keyring:lock"
LINQ_V2 = "relay:linq:v2"
HEARD = "relay:heard"
DRIFT = "relay:drift"
COUNTS = "relay:counts"
UNMATCHED = "relay:unmatched"
REPLAYS = "relay:replays"
REPLAYS_RUNNING = "relay:replays:running"
CHATS = "relay:chats"
CHATS_PROVED = "relay:chats:proved"
CHATS_TEACHER = "relay:chats:teacher"

TOPIC_PREFIX = "relay:topic:"
LANE_PREFIX = "relay:lane:"
PUSH_GROUP_PREFIX = "push:"
"""Consumer groups of a topic that belong to lanes; every other group is a pull subscriber's."""

QUEUE = "relay:arq"
SLOW_QUEUE = "relay:arq:slow"
ARQ_JOB_PREFIX = "arq:job:"
ARQ_LOCK_PREFIX = "arq:in-progress:"

CONSUMER = "relay"
"""The one consumer of the groups that we own: whoever holds the lease. A new holder finds its predecessor's entries
under it.
"""


def topic(name: str) -> str:
    """The stream of a topic."""
    return TOPIC_PREFIX + name


def push_group(subscription: str) -> str:
    """The consumer group of a push subscription, on its topic and on its replay stream."""
    return PUSH_GROUP_PREFIX + subscription


def lane(subscription: str, part: str = "") -> str:
    """A key of a lane: its hash, or with `part` one of its other keys."""
    return f"{LANE_PREFIX}{subscription}:{part}" if part else LANE_PREFIX + subscription


def replay(replay_id: str) -> str:
    """One replay of a topic's history."""
    return f"relay:replay:{replay_id}"


def ready(slot: int) -> str:
    """The lanes of a slot that have something new."""
    return f"relay:slot:{slot}:ready"


def lease(job_id: str) -> str:
    """Who runs a drain job."""
    return f"relay:lease:{job_id}"
