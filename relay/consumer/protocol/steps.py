"""A conversation with Redis as a generator that does no I/O: it yields steps, and gets what came of them.

The same generators are run by an async and by a blocking driver, so that both consumers behave alike. A step is
`Commands` (the driver sends them in one round trip, and sends back the replies, errors among them; it throws an error
if there is no reply), `Pause` or `Wait`.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, Union

from ..errors import final_error, is_missing_group, is_refused

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Generator, Sequence

Answer = TypeVar("Answer")
Argument = Union[bytes, str, int, float]

_FIRST_PAUSE = 0.05
_MAX_PAUSE = 1.0  # seconds
_STOP_WAIT = 3.0  # seconds that a consumer which stops waits for Redis
_WARN_EVERY = 30.0  # seconds between two warnings about the same outage

_ANSWERS = ("no such key", "BUSYGROUP")

_log = logging.getLogger(__package__.rpartition(".")[0])


class Command(tuple):  # type: ignore[type-arg]  # noqa: SLOT001  made for every round trip; a tuple as redis-py takes it
    """A command of Redis and its arguments. The first is bytes, for which redis-py has no parser: replies are raw."""

    may_be_refused = False
    """True if the consumer does without, where the right to it is missing."""

    @property
    def for_cluster(self) -> tuple[Any, ...]:
        """The same for a client of a cluster, which needs text: the space, which is not sent, keeps the reply raw.

        It looks for the key after a redirection, and knows that of XINFO and XGROUP if the subcommand is in the text.
        """
        names = 2 if self[0] in {b"XGROUP", b"XINFO"} else 1
        return (f"{b' '.join(self[:names]).decode()} ", *self[names:])

    @property
    def key(self) -> str:
        """The key that it is about."""
        if self[0] == b"XREADGROUP":
            return str(self[-2])
        return str(self[2] if self[0] in {b"XGROUP", b"XINFO"} else self[1])

    def __str__(self) -> str:
        """Return what a right is given for: the command and its key."""
        names = self[:2] if self[0] in {b"XGROUP", b"XINFO"} else self[:1]
        return f"{b' '.join(names).decode()} {self.key}"


class Optionally(Command):
    """A command that the rights of older releases do not contain."""

    may_be_refused = True


class Probe(Command):
    """A command whose error can be an answer: there is no such key, or the group exists."""


class Guess(Probe):
    """A probe of a key to which there may be no right, since its name may be misspelt."""

    may_be_refused = True


def command(*arguments: Argument) -> Command:
    """Return a command."""
    return Command(arguments)


def optionally(*arguments: Argument) -> Command:
    """Return a command without which the consumer can do, if the right to it is missing."""
    return Optionally(arguments)


class Commands(NamedTuple):
    """Send commands in one round trip; `atomic`: as a transaction."""

    commands: Sequence[Command]
    atomic: bool = False


class DeleteUnless(NamedTuple):
    """Delete the consumer `member` in one step, unless an event is pending for it."""

    stream: str
    group: str
    member: str


class Pause(NamedTuple):
    """Wait."""

    seconds: float


class Signal(Protocol):
    """A flag that one protocol sets and another one waits for; the driver makes it."""

    def set(self) -> object:
        """Wake the one that waits."""

    def clear(self) -> object:
        """Have the next one wait."""


class Wait(NamedTuple):
    """Wait until the signal is set, or for some time."""

    signal: Signal
    seconds: float


Step = Union[Commands, DeleteUnless, Pause, Wait]
if TYPE_CHECKING:
    Steps = Generator[Step, Any, Answer]


def drained(queue: deque[str]) -> list[str]:
    """Take all out of a queue from which another thread may take, too."""
    taken: list[str] = []
    try:
        while queue:
            taken.append(queue.popleft())
    except IndexError:  # it was quicker
        pass
    return taken


class Caller:
    """Sends commands, and waits out what Redis cannot do now: restart, failover, loading, full memory."""

    def __init__(self, stream: str, shard: int = 0) -> None:
        self._stream = stream
        self._where = f" on shard {shard}" if shard else ""
        self._pause = self._waited = 0.0
        self._warned: float | None = None
        self._error: Exception | None = None
        self.is_stopping = False

    def attempt(self, what: str, *commands: Command, atomic: bool = False) -> Steps[list[Any] | None]:
        """Return the replies; None after an outage, of which the first pause is over.

        A reply is an error if the group is missing, or if the command is an optional one.

        Raises:
            ConsumerError: trying again cannot help.
        """
        refused = ""
        try:
            replies: list[Any] = yield Commands(commands, atomic)
            for sent, reply in zip(commands, replies):
                if isinstance(reply, Exception) and not _is_expected(sent, reply):
                    refused = str(sent)
                    raise reply  # noqa: TRY301  handled as one that the driver throws
        except Exception as error:
            if (final := final_error(error, self._stream, refused)) is not None:
                if final is error:
                    raise
                raise final from error
            yield from self._wait(what, error)
            return None
        if self._waited:
            _log.info("%s%s: Redis answers again", what, self._where)
            self._pause = self._waited = 0.0
            self._warned = None
        return replies

    def insist(self, what: str, *commands: Command, atomic: bool = False) -> Steps[list[Any]]:
        """Return the replies, however long Redis is unavailable. Only for commands that may be sent twice.

        A consumer that stops does not wait for long: then an error of Redis is raised.
        """
        while True:
            replies = yield from self.attempt(what, *commands, atomic=atomic)
            if replies is not None:
                return replies
            if self.is_stopping and self._waited > _STOP_WAIT and self._error is not None:
                raise self._error

    def _wait(self, what: str, error: Exception) -> Steps[None]:
        self._error = error
        if self._warned is None or self._waited - self._warned >= _WARN_EVERY:
            text, why = "%s%s: waiting for Redis, for %.0f s so far: %s", str(error) or type(error)
            _log.warning(text, what, self._where, self._waited, why)
            self._warned = self._waited
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _MAX_PAUSE)
        began = time.monotonic()
        yield Pause(self._pause * random.uniform(0.5, 1))  # noqa: S311  members must not all come back at once
        self._waited += time.monotonic() - began


def _is_expected(sent: Command, reply: Exception) -> bool:
    if isinstance(sent, Probe) and any(answer in str(reply) for answer in _ANSWERS):
        return True
    return is_missing_group(reply) or (sent.may_be_refused and is_refused(reply))
