"""How the relay speaks with a push subscriber: signing secrets, further request headers, TLS, where it may be.

In relay.toml the values are references (`core.secret`): `references` finds them, `relay.config.secret_lookup` looks
them up, `check_found` looks at what was found, and `endpoint_of` makes one `Endpoint` of it. Nothing shows a value.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, model_validator

from relay.core.config.egress import Egress
from relay.core.config.fields import Table, Url, text_of
from relay.core.secret import SecretReference, SigningSecret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_SECRETS = 5
"""A rotation needs two; each costs a signature an attempt, and room in a header."""

_AUTHORIZATION = "authorization"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_SENT_ANYWAY = {"host", "user-agent", "content-type", "content-length"}
_OF_HTTP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect", "content-encoding"}
_FAMILIES = ("webhook-", "x-webhook-", "relay-", "proxy-")

Path = tuple[str | int, ...]
"""The way to a value from the table of its subscription, such as ("headers", "X-Team")."""


def _header_problems(names: list[str]) -> Iterator[str]:
    for name in names:
        if not _NAME.fullmatch(name):
            yield f"{name!r} is not the name of a header"
        elif name.lower() in _SENT_ANYWAY | _OF_HTTP or name.lower().startswith(_FAMILIES):
            yield f'"{name}" is for the relay or for HTTP to say'
    yield from (f'"{name}" is given twice' for name, count in Counter(map(str.lower, names)).items() if count > 1)


def _headers(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError('write a table, such as { "X-Team" = "crm" }')  # noqa: TRY004  pydantic collects ValueErrors
    if problems := list(_header_problems(list(value))):
        raise ValueError("; ".join(problems))
    return value


def _value(value: Any) -> SecretReference:
    if not isinstance(value, str):
        raise ValueError("write it as a string")  # noqa: TRY004  pydantic collects ValueErrors; it may be a password
    return SecretReference.of_value(value)


def _secrets(value: Any) -> Any:
    """One secret may be written without a list around it."""
    return value if isinstance(value, list) else (_secret(value),)


def _secret(value: Any) -> Any:
    return value if isinstance(value, SecretReference) else text_of(SecretReference.parse)(value)


def _each_once(secrets: tuple[SecretReference, ...]) -> tuple[SecretReference, ...]:
    if len(set(secrets)) < len(secrets):
        raise ValueError("a secret stands in the list twice")
    return secrets


Value = Annotated[SecretReference, BeforeValidator(_value)]
Secrets = Annotated[
    tuple[Annotated[SecretReference, BeforeValidator(_secret)], ...],
    BeforeValidator(_secrets),
    Field(min_length=1, max_length=MAX_SECRETS),
    AfterValidator(_each_once),
]


class Auth(Table):
    """`auth` of a subscription: a bearer token (RFC 6750), or a name and a password (RFC 7617)."""

    bearer: Value | None = None
    username: Value | None = None
    password: Value | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if set(self.model_fields_set) not in ({"bearer"}, {"username", "password"}):
            raise ValueError('write { bearer = "env:TOKEN" } or { username = "relay", password = "env:PASSWORD" }')
        return self


class EndpointTable(Table):
    """The part of a `[[subscriptions]]` table that says where its events go, and with which proofs."""

    url: Url
    secret: Secrets
    """Newest first; all of them sign."""
    headers: Annotated[dict[str, Value], BeforeValidator(_headers)] = Field(default_factory=dict)
    auth: Auth | None = None
    verify_tls: StrictBool = True
    """Whether the subscriber has to show a certificate that is good for its name."""
    ca_file: Annotated[str, Field(min_length=1)] | None = None
    """A PEM file of the authorities that vouch for it, in place of the system's."""

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        is_https = self.url.lower().startswith("https:")
        if self.ca_file is not None and not self.verify_tls:
            raise ValueError('"ca_file" contradicts "verify_tls = false": leave one of them out')
        if not is_https and (self.ca_file is not None or not self.verify_tls):
            raise ValueError('"ca_file" and "verify_tls" are for an https url')
        says = [
            "the url" if urlsplit(self.url).username is not None else None,
            '"auth"' if self.auth else None,
            '"headers"' if _AUTHORIZATION in map(str.lower, self.headers) else None,
        ]
        if len(found := [one for one in says if one]) > 1:
            raise ValueError(f"the request's Authorization is given by {' and '.join(found)}: leave one of them out")
        return self


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What it takes to reach one subscriber, its url apart."""

    secrets: tuple[SigningSecret, ...]
    """Newest first; all of them sign."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Further request headers, Authorization among them."""
    verify_tls: bool = True
    ca: str | None = field(default=None, repr=False)
    """The authorities that vouch for the subscriber, PEM; None for the system's."""
    egress: Egress = field(default_factory=Egress)
    """Where it may be."""


def references(row: Mapping[str, Any]) -> Iterator[tuple[Path, SecretReference]]:
    """Every reference in `row`, the table of a subscription as TOML has it.

    Leaves out what cannot be read, so that it serves for a table with mistakes, too.
    """
    for path, value, parse in _written(row):
        if isinstance(value, str):
            with suppress(ValueError):
                yield path, parse(value)


def _written(row: Mapping[str, Any]) -> Iterator[tuple[Path, Any, Callable[[str], SecretReference]]]:
    secret = row.get("secret")
    if isinstance(secret, list):
        yield from ((("secret", position), one, SecretReference.parse) for position, one in enumerate(secret))
    else:
        yield ("secret",), secret, SecretReference.parse
    for key in ("headers", "auth"):
        table = row.get(key)
        for name, value in table.items() if isinstance(table, dict) else ():
            yield (key, name), value, SecretReference.of_value
    yield ("ca_file",), row.get("ca_file"), SecretReference.of_file


def check_found(path: Path, text: str) -> None:
    """Does nothing if `text`, which was found for `path`, can stand there.

    Raises:
        ValueError: it cannot; `text` is not repeated.
    """
    if path[0] == "secret" and SigningSecret(text).decoded is None:
        raise ValueError("the secret is not whsec_ and base64; `relay secret generate` makes one")
    if path[0] in {"headers", "auth"} and not _VALUE.fullmatch(text):
        raise ValueError("the value is not one line of printable ASCII without blanks around it")
    if path == ("auth", "username") and ":" in text:
        raise ValueError("a username has no colon")


def endpoint_of(table: EndpointTable, found: Mapping[Path, str], egress: Egress) -> Endpoint:
    """The endpoint of `table`, with what was `found` for each of its references."""
    secrets = [text for path, text in found.items() if path[0] == "secret"]
    headers = {name: found["headers", name] for name in table.headers}
    if table.auth is not None and table.auth.bearer is not None:
        headers["Authorization"] = f"Bearer {found['auth', 'bearer']}"
    elif table.auth is not None:
        pair = f"{found['auth', 'username']}:{found['auth', 'password']}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return Endpoint(tuple(map(SigningSecret, secrets)), headers, table.verify_tls, found.get(("ca_file",)), egress)
