"""ACL rules: the least rights with which the relay, a viewer and a pulling team can do their work.

    relay     every key of its prefix, and the commands that it uses
    viewer    the same keys, to read only: every command of `relay` that only reads
    team      the stream of one topic, to read and acknowledge, the dead letters and places of its pull groups, the
              names of topics, and the number of shards

Commands are listed one by one: a category such as `@read` also has commands over all keys of the server, which other
applications may share, and its content differs between versions. Each of them exists since Redis 7.0 or before. Redis
checks the commands and the keys of a script as if its caller had sent them.

Redis has no rights by consumer group (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/), so
a team could use another group of its topic. It cannot write to the stream, delete it or destroy a group: what it writes
elsewhere is allowed by selectors (Redis 7.0), which are for their keys only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.store.fixed_keys import ARQ_PREFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.store.keys import Keyspace

_CONNECTION = ("ping", "select", "client|setname")
_CLUSTER = ("cluster|slots",)
_CLUSTER_CLIENT = (*_CLUSTER, "cluster|shards", "command")
"""Questions of clients of a cluster, in any language, to its nodes."""
_TRANSACTION = ("multi", "exec", "discard")
_LOOKS = (
    *("exists", "get", "getrange", "mget", "pttl", "strlen", "type", "memory|usage"),
    *("hexists", "hget", "hgetall", "hkeys", "hlen", "hmget", "hscan"),
    *("scard", "smembers"),
    *("zcard", "zcount", "zmscore", "zrange", "zrangebyscore", "zscore"),
    *("xinfo|consumers", "xinfo|groups", "xinfo|stream", "xlen", "xpending", "xrange", "xread", "xrevrange"),
)
_SCRIPTED_LOOKS = ("eval_ro", "evalsha_ro")
_SERVER = ("info", "time")

VIEWER_COMMANDS = (*_CONNECTION, *_SERVER, *_TRANSACTION, *_LOOKS, *_SCRIPTED_LOOKS)

RELAY_COMMANDS = (
    *(*_CONNECTION, *_SERVER, "dbsize", "wait"),
    *(*_TRANSACTION, "watch", "unwatch"),
    *("eval", "evalsha", *_SCRIPTED_LOOKS, "script|load"),
    *_LOOKS,
    *("append", "bitfield", "del", "expire", "incrby", "pexpire", "psetex", "set", "unlink"),
    *("hdel", "hincrby", "hset", "hsetnx"),
    *("sadd", "srem"),
    *("bzpopmin", "zadd", "zincrby", "zpopmin", "zrem", "zremrangebyrank"),
    *("xack", "xadd", "xautoclaim", "xclaim", "xdel", "xreadgroup", "xtrim"),
    *("xgroup|create", "xgroup|delconsumer", "xgroup|destroy", "xgroup|setid"),
)

TEAM_COMMANDS = (
    *_CONNECTION,
    *(*_TRANSACTION, "watch", "unwatch"),
    *("get", "sismember", "smembers"),
    *("xinfo|consumers", "xinfo|groups", "xinfo|stream", "xlen", "xpending", "xrange"),
    *("xack", "xautoclaim", "xclaim", "xreadgroup"),
    *("xgroup|create", "xgroup|createconsumer", "xgroup|delconsumer"),
)
TEAM_PLACE_COMMANDS = ("hget", "hset")
TEAM_DEAD_COMMANDS = ("xadd", "xlen", "xrange")


@dataclass(frozen=True, slots=True)
class Rule:
    """The rights of a user."""

    keys: tuple[str, ...]
    """Patterns of keys, in the syntax of an ACL rule."""
    commands: tuple[str, ...]
    """Commands, and subcommands as `command|subcommand`."""
    selectors: tuple[Rule, ...] = ()
    """Other commands, each with the keys that it may be used on."""

    def __str__(self) -> str:
        rule = f"resetkeys {' '.join(self.keys)} resetchannels -@all {_granted(self.commands)}"
        selectors = (f"({' '.join(each.keys)} {_granted(each.commands)})" for each in self.selectors)
        return " ".join((rule, "clearselectors", *selectors)) if self.selectors else rule

    def setuser(self, user: str) -> str:
        """Return the command that grants these rights to a user that exists; its passwords stay."""
        return f"ACL SETUSER {user} {self}"


def relay_rule(*shards: Keyspace) -> Rule:
    """Return the rights that the relay needs on its shards: all its roles and commands."""
    arq = (f"~{key.arq(prefix, '*')}" for key in shards for prefix in ARQ_PREFIXES)
    return Rule((*(f"~{key.pattern()}" for key in shards), *arq), _at(shards[0], RELAY_COMMANDS, _CLUSTER))


def viewer_rule(*shards: Keyspace) -> Rule:
    """Return the rights that commands need which only read."""
    return Rule(tuple(f"%R~{key.pattern()}" for key in shards), _at(shards[0], VIEWER_COMMANDS, _CLUSTER))


def team_rule(topic: str, *shards: Keyspace) -> Rule:
    """Return the rights that a consumer needs to read a topic, in any language."""
    places = Rule(tuple(f"~{key.places(topic)}" for key in shards), TEAM_PLACE_COMMANDS)
    dead = Rule(tuple(f"~{key.group_dead(topic, '*')}" for key in shards), TEAM_DEAD_COMMANDS)
    commands = _at(shards[0], TEAM_COMMANDS, _CLUSTER_CLIENT)
    keys = (key for shard in shards for key in (f"~{shard.topic(topic)}", f"%R~{shard.topics}"))
    return Rule((*keys, f"%R~{shards[0].shards}"), commands, (places, dead))


def _at(key: Keyspace, commands: tuple[str, ...], on_cluster: tuple[str, ...]) -> tuple[str, ...]:
    return (*commands, *on_cluster) if key.is_tagged else commands


def _granted(commands: Iterable[str]) -> str:
    return " ".join(f"+{command}" for command in commands)
