"""Errors of Redis in the words of an operator, with the remedy: for commands and the doctor.

Redis and its client speak of slots, sockets and AUTH. What most of these errors come from is REDIS_URL: it names a
server of another kind, the wrong password, or a place where nothing runs.
"""

from __future__ import annotations

from typing import NamedTuple

from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    BusyLoadingError,
    NoPermissionError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from relay.store.driver.client import describe
from relay.store.driver.pools.cluster_pool import NOT_SERVED, NodeRefusesError, NotAClusterError

WRONG_CREDENTIALS = "the user name or password is wrong or missing"
IN_CLUSTER_MODE = "its server is in cluster mode"
OWN_USERS = "each server of a cluster has its own users"
PLAIN_URL = "redis:// (with TLS rediss://)"
CLUSTER_URL = "redis+cluster:// (with TLS rediss+cluster://)"

_NONE_CONFIGURED = "without any password configured"
_OF_A_CLUSTER = ("MOVED ", "ASK ", "CROSSSLOT ", "TRYAGAIN", "CLUSTERDOWN")
"""Beginnings of errors that only a client gets which takes the server for a single one."""


class Explanation(NamedTuple):
    """An error for people."""

    what: str
    remedy: str
    """Empty if none is known."""


def explain(error: BaseException) -> Explanation:
    """Return an error of Redis in plain words, without the data of a command."""
    text = describe(error)
    if isinstance(error, NotAClusterError):
        return Explanation(text, f"begin REDIS_URL with {PLAIN_URL}")
    if isinstance(error, ResponseError) and text.startswith(_OF_A_CLUSTER):
        return Explanation(IN_CLUSTER_MODE, f"begin REDIS_URL with {CLUSTER_URL}")
    if isinstance(error, (AuthenticationError, AuthenticationWrongNumberOfArgsError)):
        return _of_credentials(error, text)
    if isinstance(error, NoPermissionError):
        return Explanation(text, "relay acl prints the rights that are needed")
    return Explanation(text.rstrip("."), _remedy_of_a_lost_connection(error, text))


def _of_credentials(error: BaseException, text: str) -> Explanation:
    remedy = "check REDIS_URL, or REDIS_USERNAME and REDIS_PASSWORD"
    if _NONE_CONFIGURED in text:
        return Explanation("a password is given, and Redis has none for its default user", remedy)
    if isinstance(error, NodeRefusesError):
        return Explanation(f"{WRONG_CREDENTIALS} at {error.node}", f"{remedy}: {OWN_USERS}")
    return Explanation(WRONG_CREDENTIALS, remedy)


def _remedy_of_a_lost_connection(error: BaseException, text: str) -> str:
    if isinstance(error, BusyLoadingError):
        return "try again when it has loaded its data"
    if text.startswith(NOT_SERVED):
        return "try again in some seconds; if it stays so, examine it: redis-cli --cluster check HOST:PORT"
    if isinstance(error, (RedisConnectionError, RedisTimeoutError, OSError)):
        return "check REDIS_URL (its host, port and TLS), and that Redis is running"
    return ""
