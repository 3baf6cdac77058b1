"""Every Redis key of the relay: its contents, its lifetime and why.

All of them begin with a prefix, RELAY_KEY_PREFIX, by default `relay`, so that several relays can share a Redis; arq's
keys contain it, since job ids and queues begin with it. A `Keyspace` has the names under one prefix; a client of Redis
has it as `key` (`driver.client`).

From acceptance to a topic
    relay:inbox                 stream    accepted events; an entry is deleted in the step that routes it
    relay:seen:<event id>       string    deduplication: the claims on the id (`inbox.claims`); lives for
                                          RELAY_DEDUPE_WINDOW (Linq retries for 30 minutes)
    relay:quarantine            stream    valid signature, but unparsable; until an operator drops or retries it
    relay:topic:<topic>         stream    routed events, the public interface for pull subscribers
    relay:topic:<topic>:held    stream    events of a topic whose stream was overwritten, until it is repaired
    relay:topic:<topic>:places  hash      by pull group: the id after which it resumes if its group gets lost; until the
                                          group or the topic is deleted
    relay:dead:<topic>:<group>  stream    dead letters of a pull group, oldest first, written by its members; until an
                                          operator or its team replays or drops them; bounded by the topic's `dead`
    relay:dead                  hash      pull groups that have or had dead letters, with counters of what became of
                                          them (`topics.pull.dead_letters`)
    relay:topics                set       names of topics that relay.toml ever had, or that ever had an event

The lane of a push subscription (its position in its topic)
    relay:lane:<name>           hash      counters of the ledger, its position in each topic stream,
                                          the time of its last success
    relay:lane:<name>:retries   zset      deliveries that wait for their next attempt, by due time (ms)
    relay:lane:<name>:tries     hash      the attempts so far of each delivery that is not settled
    relay:lane:<name>:replay    stream    events that an operator replayed: dead letters, and a topic's history
    relay:lane:<name>:dead      stream    dead letters, oldest first, until an operator replays or drops them;
                                          bounded by the subscription's `dead`
    relay:lane:<name>:blocked   hash      chats that a dead letter or its replay blocks (`block_on_dead`)
    relay:lane:<name>:attempts  stream    attempts and their outcomes (`lanes.attempts.record`), in the order they were
                                          settled; bounded by the subscription's `attempts`
    relay:lane:<name>:answers   stream    response bodies and errors of failed attempts, with the same ids
    relay:lanes                 set       names of lanes that ever existed: dead letters outlive their subscription
    relay:paused                hash      paused lanes, with the start and the reason
    relay:shadows               hash      lanes that are shadows (`shadow_of`), with their originals; until the rules
                                          have been without one for a minute, and its lane is dropped
    relay:breakers              hash      lanes whose circuit breaker is not closed, with its state (`core.delivery`)

Work and wake-ups
    relay:partition:<n>:ready   zset      lanes of a partition that have new events; a set, so marking is idempotent
    relay:lease:<job>           string    the worker that runs a drain job; expires seconds after its last renewal
    relay:prepared              string    the router's mark that the consumer groups of all lanes exist; lost together
                                          with them, and nothing is routed until they are created again
    arq:job:<job>, relay:arq    arq's     the wake-up of a drain job, and its queue (arq's own format);
                                          the ids of jobs, also of cron jobs, begin with the prefix
    relay:arq:slow              arq's     the queue of long jobs (`workers.runtime.queues`)
    relay:arq:woken, relay:arq:slow:woken  zset  the jobs of each queue that a wake-up has just enqueued; a worker that
                                          waits for one takes it (`workers.runtime.wakeup_listener`)

Replays of a topic's history (`topics.replays`), on each shard that has events of it
    relay:replay:<id>           hash      one replay: span, subscription, progress; kept a week after its end; on the
                                          first shard also its parts on others (`topics.whole.replay_parts`)
    relay:replays               zset      the last hundred replays, by start time (ms)
    relay:replays:running       set       replays that have not ended

Messages and gaps (`store.gaps`)
    relay:messages:<hour>       string    keys of the messages whose events were routed in an hour, eight bytes each;
                                          for RELAY_GAP_WINDOW and two hours
    relay:gaps                  hash      the beginning of the message index, when an ingress last answered, outages,
                                          the number of walks by purpose and end
    relay:gaps:backfilled       hash      messages that were backfilled, and their topics: the event that Linq may still
                                          send goes only to others; RELAY_GAP_WINDOW, at most a million
    relay:gaps:walk             hash      the last walk through Linq's chats: its span, its progress, its findings; on
                                          other shards the number that it put back there; a week
    relay:gaps:walk:done        set       chats that a walk has looked at, until it is done; a day
    relay:gaps:account:NAME:... hash, set the same two keys of an account of `[[linq.accounts]]`

Chat -> line index (`inbox.chat_lines`; kept 90 days after the last proof, at most a million chats)
    relay:chats                 hash      line by chat, `v3:<chat id>` or `v2:<chat id>`
    relay:chats:proved          zset      the same chats by the last event that proved the line (ms, to the hour)
    relay:chats:last_writer     string    the lease token that wrote last: caches of other workers may be out of date

Teams and tokens (`store.teams`); teams of relay.toml are in the file only
    relay:teams                 hash      teams that were made by API or command line, by name
    relay:tokens                hash      tokens by id, with digests of their secrets; also revoked and expired ones
    relay:tokens:used           hash      the last use of each token, to the minute, and where it came from
    relay:signin:<digest>       string    a code that opens one session of the page: the id of a token; five minutes

Subscriptions made by the API (`stored_subscriptions`), beside those of relay.toml
    relay:subscriptions         hash      their tables by name, with encrypted secrets; of a deleted one its team, until
                                          its lane is dropped
    relay:subscriptions:revision string   random, new with every write: one small read tells the processes whether there
                                          is anything to read

Everything else (of lines: `store.lines`)
    relay:lines                 hash      what Linq reports about each, `<line>:listed` and `<line>:told`; 90 days
    relay:lines:event_times     hash      time of its last events, `<line>:event`, `:inbound`, `:outbound`
    relay:lines:week:<n>:<line> string    its events by hour of a week, 168 numbers of four bytes; nine weeks
    relay:lines:opt_outs        set       lines that a handle ever opted out of; with `[linq] opt_outs`
    relay:lines:opt_outs:<line> zset      these handles, by time, until they opt in again or are erased
    relay:lines:opt_ins:<line>  zset      handles that opted in again, the newest 10,000; 30 days
    relay:keyring               hash      encrypted signing secrets of our Linq subscriptions, by Linq's subscription id
    relay:keyring:revision      string    random, new with every write of the keyring: one small read tells the ingress
                                          whether there is anything to read
    relay:keyring:lock          string    the lock for changes of subscriptions at Linq (redis-py's lock)
    relay:linq:v2               string    a fingerprint of the secret that our v2 subscription was given last; Linq
                                          never shows it, and a changed LINQ_V2_WEBHOOK_SECRET must be sent
    relay:linq:owner            string    the owner tag, random, in the URLs of our subscriptions at Linq: it tells them
                                          from those of a relay with another Redis; lost with the keyring
    relay:linq:looks            hash      subscriptions that looks at Linq found to be deleted, `v3:<id>`, with the
                                          number of looks that agree and the time of the last; kept a day
    relay:linq:events           stream    account events of Linq's that the relay reacts to, until it has; at most 500
    relay:linq:look_at          hash      the pace of the looks at Linq that they cause; minutes
    relay:last_seen             hash      time of each line's last verified event, and the generation of its secret
    relay:drift                 hash      drift at Linq that the last check found, by API: `v3:missing`, `v2:at`
    relay:counts                hash      accepted, duplicate, quarantined, routed, unmatched, poisoned, lost,
                                          quarantine_dropped, quarantine_retried, id_conflict; `routed:<stream>` by
                                          topic; `placed_by`, the number of shards, if it is not one
    relay:audited               string    accepted events at the last audit: fewer now means that counters were deleted
    relay:refused               hash      requests that the ingress refused, by code
    relay:contracts             hash      what was learned of each event type and payload version, `<type> <version>`
                                          (`contracts.learning`); the 300 that came last
    relay:contracts:samples     hash      redacted samples of them: `<type> <version> usual`, and `... changed`
    relay:contracts:changes     hash      changes that no operator has accepted, `<type> <version> <change>`, with the
                                          time of each (ms)
    relay:unmatched             hash      events that matched no topic, by event type
    relay:audit                 stream    what operators changed: who, from where, when and why (`store.audit`); the
                                          newest 10,000
    relay:audit:team:<team>     stream    the same of a team; the newest 2,000
    relay:audit:teams           set       names of the teams that have such a stream
    relay:maintenance           hash      `swept_at`: when a worker last finished a sweep (ms)
    relay:alerts                hash      alerts (`[alerts]` in relay.toml) that are firing, or pending
    relay:alerts:outbox         stream    webhooks about them that the URL has not taken yet, at most a thousand
    relay:alerts:sending        hash      the last failure to send one, and the time of the next try
    relay:alerts:certificates   hash      end of the certificate of each subscriber
    relay:alerts:history        stream    counters of webhooks by the minute; a day and an hour
    relay:history               stream    counters of the whole relay and its topics by the minute; an hour
    relay:history:lanes         stream    events delivered to each subscription by the minute; ten minutes
    relay:session:<hash>        hash      a session of the page, by the hash of its id: the token that signed in;
                                          expires after twelve hours
    relay:sessions:<token>      zset      the sessions of a token by time: one beyond fifty ends the oldest
    relay:processes             hash      processes of the relay, with what they report of themselves every second; a
                                          process that is silent is forgotten (`fleet.processes`)
    relay:shards                string    the number of shards, RELAY_SHARDS of the first start; processes with another
                                          number refuse to start (`sharding.number`), but for the target of a growth
    relay:shards:growth         hash      the last growth of that number: `former`, `target`, and the time of each step
                                          (`sharding.growth.state`)
    relay:shards:opened         hash      ordered lanes that may deliver on the new shards; until the next growth
    relay:shards:fence          hash      on each shard of a relay that grew: the time, and the ids at which `inbox` and
                                          the topics ended, when the number by which events are placed there changed;
                                          that number is `placed_by` in `relay:counts`
    relay:drain_orders          hash      operators' orders to take no new work, by host; each has an end
    relay:idempotency:<token>:<key>  string  the encrypted answer to a request of the API, by the token and its
                                          Idempotency-Key; a day (two minutes while it is being done)
    relay:idempotencies:<holder> zset     those keys by time, of `team:<team>` or `token:<token>`; the newest 10,000
    {relay}:absent              none      never exists; only on a cluster, where scripts are given it (`driver.scripts`)
    relay:memory_probe          string    written by a worker to see whether Redis accepts writes; lives a second

On a Redis Cluster the prefix is a hash tag (`Keyspace.tagged`): `{relay}:inbox`, `arq:job:{relay}:route`. So all keys
are in one slot, and one primary has them. On any other Redis the names are as above. Shards beside the first one have
prefixes of their own, `relay/1:inbox`, and of these keys only those that events need (`sharding.shards`).
"""

from __future__ import annotations

from typing import NamedTuple

from relay.store.fixed_keys import FixedKeys

PUSH_GROUP_PREFIX = "push:"
"""Consumer groups of a topic that belong to lanes; every other group is a pull subscriber's."""

LANE_PARTS = {
    "retries": "zset",
    "tries": "hash",
    "replay": "stream",
    "dead": "stream",
    "blocked": "hash",
    "attempts": "stream",
    "answers": "stream",
}
"""The keys of a lane beside its hash, and their types in Redis."""

CONSUMER = "relay"
"""The only consumer of our own groups. Every worker reads as it while it has the lease, so a successor finds the
pending entries of its predecessor.
"""


class GroupName(NamedTuple):
    """The name of a pull group."""

    topic: str
    group: str

    def __str__(self) -> str:
        return f"{self.topic}/{self.group}"


class Keyspace(FixedKeys):
    """The names of the relay's keys under a prefix, which has no colon."""

    @classmethod
    def tagged(cls, prefix: str) -> Keyspace:
        """Return the names on a Redis Cluster, where the prefix is a hash tag."""
        return cls(f"{{{prefix}}}")

    @property
    def name(self) -> str:
        """The prefix as it is set, without the signs of a hash tag."""
        return self.prefix.strip("{}")

    @property
    def absent(self) -> str:
        """The key that never exists, on a Redis Cluster; otherwise empty."""
        return f"{self.prefix}:absent" if self.is_tagged else ""

    @property
    def is_tagged(self) -> bool:
        """True on a Redis Cluster."""
        return self.prefix.startswith("{")

    def topic(self, name: str) -> str:
        """Return the key of a topic's stream."""
        return self.topic_prefix + name

    def held(self, topic_name: str) -> str:
        """Return the key of a topic's events that wait until its stream, which was overwritten, is repaired."""
        return f"{self.topic(topic_name)}:held"

    def places(self, topic_name: str) -> str:
        """Return the key of the places where the topic's pull groups resume if they get lost."""
        return f"{self.topic(topic_name)}:places"

    def group_dead(self, topic_name: str, group: str) -> str:
        """Return the key of the dead letters of a pull group."""
        return f"{self.group_letters}:{topic_name}:{group}"

    def lane(self, subscription: str, part: str = "") -> str:
        """Return a key of a lane: its hash, or with `part` another of its keys."""
        return f"{self.lane_prefix}{subscription}:{part}" if part else self.lane_prefix + subscription

    def lane_types(self, subscription: str) -> dict[str, str]:
        """Return every key of a lane with its type in Redis."""
        parts = {self.lane(subscription, part): kind for part, kind in LANE_PARTS.items()}
        return {self.lane(subscription): "hash"} | parts

    def audit_of(self, team: str) -> str:
        """Return the key of the audit of a team."""
        return f"{self.audit}:team:{team}"

    def session(self, hashed: str) -> str:
        """Return the key of a session of the page."""
        return f"{self.prefix}:session:{hashed}"

    def sessions_of(self, token: str) -> str:
        """Return the key of the sessions of a token."""
        return f"{self.prefix}:sessions:{token}"

    def replay(self, replay_id: str) -> str:
        """Return the key of a replay of a topic's history."""
        return f"{self.prefix}:replay:{replay_id}"

    def walk(self, part: str = "", account: str | None = None) -> str:
        """Return a key of the walk through Linq's chats: its hash, or with `part` another of its keys.

        `account` of `[[linq.accounts]]` has keys of its own.
        """
        of = self.gaps if account is None else f"{self.gaps}:account:{account}"
        return f"{of}:walk:{part}" if part else f"{of}:walk"

    def messages(self, hour: int) -> str:
        """Return the key of the messages whose events were routed in an hour since 1970."""
        return f"{self.prefix}:messages:{hour}"

    def sign_in(self, digest: str) -> str:
        """Return the key of a sign-in code."""
        return f"{self.prefix}:signin:{digest}"

    def ready(self, partition: int) -> str:
        """Return the key of the lanes of a partition that have new events."""
        return f"{self.prefix}:partition:{partition}:ready"

    @staticmethod
    def woken(queue: str) -> str:
        """Return the key of the jobs that wake-ups have just put into a queue of arq."""
        return f"{queue}:woken"

    def idempotency(self, token: str, key: str) -> str:
        """Return the key of the answer to a request that a token sent with an Idempotency-Key."""
        return f"{self.prefix}:idempotency:{token}:{key}"

    def idempotency_of(self, holder: str) -> str:
        """Return the key of the answers that are kept for a team, `team:<team>`, or an operator's `token:<token>`."""
        return f"{self.prefix}:idempotencies:{holder}"


def push_group(subscription: str) -> str:
    """Return the consumer group of a push subscription, on its topic and on its replay stream."""
    return PUSH_GROUP_PREFIX + subscription


def topic_of(stream: str) -> str:
    """Return the name of the topic whose stream has the key `stream`, under any prefix."""
    return stream.split(":", 2)[2]
