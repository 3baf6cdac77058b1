"""Every error that the relay raises on purpose, in one tree.

    RelayError                      can be explained to an operator in one sentence
    ├── SettingsError               the environment is wrong: exit code 2
    ├── ConfigError                 relay.toml is wrong: exit code 2
    ├── RejectedWebhook             the ingress does not accept a request; `web.responses` maps each to a status
    │   ├── BadSignature            the sender could not prove to be Linq
    │   ├── SecretUnknown           no secret is stored for that URL (yet): our fault, Linq retries
    │   └── StoreUnavailable        Redis did not take the event in time: our fault, Linq retries
    ├── Unparsable                  valid signature, but not an envelope: quarantined, never refused
    ├── StoreError                  Redis is reachable but unusable (wrong key for an encrypted secret, ...)
    └── LinqApiError                Linq's API answered with an error, or not at all

`code` is a short stable name for logs, metrics and JSON answers; the message is for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class RelayError(Exception):
    """The root: str() is one sentence that says what is wrong and, where one can, what to do."""

    code: ClassVar[str] = "error"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake and the place it stands in, such as `relay.toml:14 topics[1].lines[0]` or `REDIS_URL`."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class SeveralProblems(RelayError):
    """Mistakes that were found together and are told together."""

    def __init__(self, heading: str, problems: tuple[Problem, ...]) -> None:
        self.heading = heading
        self.problems = problems
        super().__init__("\n".join((heading, *(f"  {problem}" for problem in problems))))


class SettingsError(SeveralProblems):
    """Environment variables are missing or wrong; all of them, by name."""

    code = "settings"


class ConfigError(SeveralProblems):
    """relay.toml has mistakes; all of them, each with its place."""

    code = "config"


class RejectedWebhook(RelayError):
    """A webhook that the ingress does not accept."""

    code = "refused"

    def __init__(self, message: str, *, another_secret_could_help: bool = False) -> None:
        super().__init__(message)
        self.another_secret_could_help = another_secret_could_help


class BadSignature(RejectedWebhook):
    """No secret that we hold makes this signature, or the headers cannot be a signature at all."""

    code = "bad_signature"


class SecretUnknown(RejectedWebhook):
    """The URL names a line (or a generation of it) whose secret is not in the keyring: bootstrap may be storing it."""

    code = "secret_unknown"


class StoreUnavailable(RejectedWebhook):
    """Redis is down, slow, full or loading; nothing was promised to the sender."""

    code = "store_unavailable"


class Unparsable(RelayError):
    """The signature holds, but the body is not an envelope that can be routed."""

    code = "unparsable"


class StoreError(RelayError):
    """Something that Redis holds cannot be used."""

    code = "store"


class LinqApiError(RelayError):
    """A call to Linq's API failed; carries what Linq said."""

    code = "linq_api"
