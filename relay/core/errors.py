"""Every error that the relay raises on purpose, in one tree.

    RelayError                      what a person can be told in one sentence
    ├── SettingsError               the environment is wrong: exit code 2
    ├── ConfigError                 relay.toml is wrong: exit code 2
    ├── Refusal                     a request the ingress does not accept; `web.answers` maps each to a status
    │   ├── BadSignature            the sender could not prove to be Linq
    │   ├── SecretUnknown           we hold no secret for that URL (yet): our fault, try again
    │   └── StoreUnavailable        Redis did not take it in time: our fault, try again
    ├── Unparsable                  signed by Linq, but not an envelope: set aside, never refused
    ├── StoreError                  Redis is there but cannot be used as it is (wrong key for a sealed secret, ...)
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


class Refusal(RelayError):
    """A webhook that the ingress does not accept."""

    code = "refused"

    def __init__(self, message: str, *, another_secret_could_help: bool = False) -> None:
        super().__init__(message)
        self.another_secret_could_help = another_secret_could_help


class BadSignature(Refusal):
    """No secret that we hold makes this signature, or the headers cannot be a signature at all."""

    code = "bad_signature"


class SecretUnknown(Refusal):
    """The URL names a line (or a generation of it) whose secret is not in the keyring: bootstrap may be storing it."""

    code = "secret_unknown"


class StoreUnavailable(Refusal):
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
