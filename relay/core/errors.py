"""Every error that the relay raises on purpose, in one tree.

    RelayError                      has a message of one sentence for the operator
    ├── SettingsError               the environment is wrong: exit code 2
    ├── ConfigError                 relay.toml is wrong: exit code 2
    ├── RejectedWebhook             the ingress does not accept a request; `web.responses` maps each to a status
    │   ├── BadSignature            the sender did not prove to be Linq
    │   ├── SecretUnknown           no secret is stored for that URL (yet): our fault, Linq retries
    │   ├── TooManyFailures         not verified, and its sender is over its budget of failures: Linq retries
    │   └── StoreUnavailable        Redis did not store the event in time: our fault, Linq retries
    ├── Unparsable                  valid signature, but not an envelope: quarantined, never refused
    ├── StoreError                  Redis is reachable but unusable (wrong key for an encrypted secret, ...)
    ├── LinqApiError                Linq's API responded with an error, or not at all
    ├── AnotherRelay                subscriptions at Linq may be another relay's, and nothing was said of taking over
    └── ServiceError                a request that cannot be fulfilled; `web.api` maps each to a status
        ├── NotFound                there is none, or not for who asks
        ├── Forbidden               the right is missing
        ├── Conflict                it contradicts the present state
        │   └── ChangedMeanwhile    it was made from a version that is no longer stored
        ├── Invalid                 the request has mistakes; lists all of them, by field
        └── TooMany                 a limit is reached

`code` is a short stable name for logs, metrics and JSON responses; the message is for operators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class RelayError(Exception):
    """Root of the tree: str() is one sentence with what is wrong and, where possible, what to do."""

    code: ClassVar[str] = "error"


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake and its place, such as `relay.toml:14 topics[1].lines[0]` or `REDIS_URL`."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class SeveralProblems(RelayError):
    """Mistakes that were found together and are reported together."""

    def __init__(self, heading: str, problems: tuple[Problem, ...]) -> None:
        self.heading = heading
        self.problems = problems
        super().__init__("\n".join((heading, *(f"  {problem}" for problem in problems))))


class SettingsError(SeveralProblems):
    """Missing or wrong environment variables; lists all of them, by name."""

    code = "settings"


class ConfigError(SeveralProblems):
    """Mistakes in relay.toml; lists all of them, each with its place."""

    code = "config"


class RejectedWebhook(RelayError):
    """A webhook that the ingress does not accept."""

    code = "refused"

    def __init__(self, message: str, *, another_secret_could_help: bool = False) -> None:
        super().__init__(message)
        self.another_secret_could_help = another_secret_could_help


class BadSignature(RejectedWebhook):
    """No stored secret makes this signature, or the headers are not a signature at all."""

    code = "bad_signature"


class SecretUnknown(RejectedWebhook):
    """The keyring has no secret for the line (or its generation) in the URL: bootstrap may be about to store it."""

    code = "secret_unknown"


class TooManyFailures(RejectedWebhook):
    """No loaded secret verifies the webhook, and its sender has used up its budget: the keyring is not read for it."""

    code = "too_many_failures"


class StoreUnavailable(RejectedWebhook):
    """Redis is down, slow, full or loading; the event is not acknowledged."""

    code = "store_unavailable"


class Unparsable(RelayError):
    """The signature is valid, but the body is not an envelope that can be routed."""

    code = "unparsable"


class StoreError(RelayError):
    """Data in Redis cannot be used."""

    code = "store"


class LinqApiError(RelayError):
    """A call to Linq's API failed; the message has Linq's own."""

    code = "linq_api"


class AnotherRelay(RelayError):
    """Subscriptions at Linq may be another relay's, and are not to be taken over."""

    code = "another_relay"


@dataclass(frozen=True, slots=True)
class Hint:
    """The remedy of an error in the terms of each face; the page has its buttons instead."""

    cli: str = ""
    """The command or option to type."""
    api: str = ""
    """The operation or parameter to send."""


class ServiceError(RelayError):
    """A request of an operator or a team that cannot be fulfilled; the message says why, the same on every face."""

    code = "service"

    def __init__(self, message: str = "", *, hint: Hint | None = None) -> None:
        super().__init__(message)
        self._hint = hint or Hint()

    @property
    def for_cli(self) -> str:
        """The message with the remedy of the command line."""
        return "; ".join(filter(None, (str(self), self._hint.cli)))

    @property
    def for_api(self) -> str:
        """The message with the remedy of the API."""
        return "; ".join(filter(None, (str(self), self._hint.api)))


class NotFound(ServiceError):
    """There is no such thing, or who asks may not see it: both are answered alike."""

    code = "not_found"


class Forbidden(ServiceError):
    """The right to do this is missing."""

    code = "forbidden"


class Conflict(ServiceError):
    """The request contradicts the present state, such as a name that is taken."""

    code = "conflict"


class ChangedMeanwhile(Conflict):
    """A change that was made from a version which is no longer the present one."""

    code = "changed_meanwhile"


class Invalid(ServiceError):
    """The request has mistakes; lists all of them, with their fields."""

    code = "invalid"

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("; ".join(map(str, problems)))


class TooMany(ServiceError):
    """A limit is reached, such as the number of replays that run at a time."""

    code = "too_many"
