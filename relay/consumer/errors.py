"""Errors of a consumer, and which errors of Redis are waited out.

ConsumerError        Redis refuses the credentials or a command, its certificate is not trusted, or a key was
                     overwritten; trying again cannot help
  UnknownTopic       the relay has no such topic
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

UNAVAILABLE = (RedisError, OSError, TimeoutError)
"""Errors by which a client says that Redis cannot be used now, or not so. asyncio's own timeout is converted."""

_REFUSED = (AuthenticationError, AuthenticationWrongNumberOfArgsError, AuthorizationError, NoPermissionError)
_SENTINEL_REFUSES = "AuthenticationError("  # redis-py puts the errors of the Sentinels into the text of its own
_EXPLAINED = {
    "CERTIFICATE_VERIFY_FAILED": (
        "the certificate of Redis is not trusted: {text}; `ssl_ca_certs=FILE` in the URL names its authority"
    ),
    "WRONGTYPE": (
        "{stream} is not a stream: another client has overwritten a key of the relay ({text}); `TYPE {stream}` in "
        "redis-cli shows it, `relay doctor` how to repair it"
    ),
}
_CODE = re.compile(r"[A-Z]{2,}\b")  # ERR, the code of wrong commands, is removed by redis-py
_FINAL_CODES = ("WRONGTYPE", "NOPERM", "NOAUTH", "WRONGPASS", "CROSSSLOT", "NOSCRIPT", "NOPROTO")
_PASSING = ("max number of clients", "Redis is loading", "caught error")


class ConsumerError(Exception):
    """A consumer cannot continue, and trying again cannot help."""


class UnknownTopic(ConsumerError):
    """The relay has no topic of that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        nearest = get_close_matches(name, names, n=1)
        hint = f'; did you mean "{nearest[0]}"?' if nearest else ""
        super().__init__(f'no topic "{name}" (known: {", ".join(names)}){hint}')


def is_missing_group(error: object) -> bool:
    """Return True if Redis says that the stream or its group does not exist."""
    return isinstance(error, ResponseError) and ("NOGROUP" in str(error) or "UNBLOCKED" in str(error))


def is_refused(error: object) -> bool:
    """Return True if Redis refuses the credentials or the right to a command."""
    if isinstance(error, _REFUSED):
        return True
    return isinstance(error, RedisError) and (
        _SENTINEL_REFUSES in str(error) or str(error).startswith(("NOAUTH", "WRONGPASS", "NOPERM"))
    )


def final_error(error: Exception, stream: str, refused: str = "") -> Exception | None:
    """Return the error that ends a consumer; None if Redis is only unavailable: restart, failover, full, busy.

    `refused` is the command that met it, if that is known.
    """
    if not isinstance(error, UNAVAILABLE):
        return error
    text = str(error)
    if is_refused(error):
        where = f" ({refused}; `relay acl` prints the rights that a team needs)" if refused else ""
        return ConsumerError(f"Redis refuses this consumer: {text}{where}")
    for sign, explanation in _EXPLAINED.items():
        if sign in text:
            return ConsumerError(explanation.format(stream=stream, text=text))
    if type(error) is not ResponseError or any(passing in text for passing in _PASSING):
        return None
    code = _CODE.match(text)
    if code and code[0] not in _FINAL_CODES:
        return None
    return ConsumerError(f"Redis cannot do what this consumer needs: {text}")
