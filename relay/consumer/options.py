"""The options of a consumer, checked."""

from __future__ import annotations

import itertools
import os
import re
import socket
from typing import TYPE_CHECKING, NamedTuple

from .names import PUSH_GROUP_PREFIX, RESERVED_MEMBERS

if TYPE_CHECKING:
    from collections.abc import Callable

_START = re.compile(r"\d{1,16}(-\d{1,20}(\.\d{1,4})?)?|\$", re.ASCII)
_numbers = itertools.count(1)

NEXT, EXPLICIT = "next", "explicit"


class Options(NamedTuple):
    """Arguments of `consume` and `consume_sync`."""

    topic: str
    group: str
    member: str
    start: str
    claim_after: float
    key_prefix: str
    acknowledge: str
    max_deliveries: int
    prefetch: int
    on_lost: Callable[[str, int], object] | None


def checked(options: Options) -> Options:
    """Return the options, with a name for the member.

    Raises:
        ValueError: one cannot be used; the message says what it may be.
    """
    names = (("group", options.group, PUSH_GROUP_PREFIX), ("member", options.member, RESERVED_MEMBERS))
    for kind, name, prefix in names:
        if name.startswith(prefix):
            raise ValueError(f'the {kind} name "{name}" is reserved for the relay; choose a name without "{prefix}"')
    if not options.topic or not options.group:
        raise ValueError('name the topic and the group, such as topic="support", group="billing"')
    if not _START.fullmatch(options.start):
        raise ValueError(f'start is "0", "$", a stream id or Unix milliseconds, not "{options.start}"')
    if options.acknowledge not in {NEXT, EXPLICIT}:
        raise ValueError(f'acknowledge is "{NEXT}" or "{EXPLICIT}", not "{options.acknowledge}"')
    if options.claim_after <= 0:
        raise ValueError(f"claim_after is a number of seconds above 0, not {options.claim_after}")
    if options.max_deliveries < 0:
        raise ValueError(f"max_deliveries is 1 or more, or 0 for no limit, not {options.max_deliveries}")
    if options.prefetch < 1:
        raise ValueError(f"prefetch is 1 or more, not {options.prefetch}")
    start, _, _ = options.start.partition(".")  # of an entry that names its shard, the time
    return options._replace(member=options.member or _own_name(), start=start)


def _own_name() -> str:
    number = next(_numbers)
    return f"{socket.gethostname()}-{os.getpid()}" + (f"-{number}" if number > 1 else "")
