"""Endpoint of a push subscriber: signing secrets, request headers, TLS, allowed destinations.

In relay.toml the values are references (`core.secret`): `references` finds them, `relay.config.secrets.lookup` looks
them up, `check_found` checks the values, and `endpoint_of` builds an `Endpoint` from them. No error or repr contains a
value.
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
from relay.core.config.fields import Table, Url
from relay.core.secret import SecretReference, SigningSecret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_SECRETS = 5
"""Maximum number of secrets. A rotation needs two; each costs one signature per attempt, and room in a header."""

_AUTHORIZATION = "authorization"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_SET_BY_RELAY = {"host", "user-agent", "content-type", "content-length", "traceparent", "tracestate"}
_SET_BY_HTTP = {
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "content-encoding",
}
_RESERVED_PREFIXES = ("webhook-", "x-webhook-", "relay-", "proxy-")

Path = tuple[str | int, ...]
"""Path of a value from the table of its subscription, such as ("headers", "X-Team")."""


def _header_problems(names: list[str]) -> Iterator[str]:
    for name in names:
        if not _NAME.fullmatch(name):
            yield f"{name!r} is not a valid header name"
        elif name.lower() in _SET_BY_RELAY | _SET_BY_HTTP or name.lower().startswith(_RESERVED_PREFIXES):
            yield f'header "{name}" is set by the relay or by HTTP and cannot be overridden'
    yield from (
        f'header "{name}" is given twice' for name, count in Counter(map(str.lower, names)).items() if count > 1
    )


def _headers(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError('write a table, such as { "X-Team" = "crm" }')  # noqa: TRY004  pydantic collects ValueErrors
    if problems := list(_header_problems(list(value))):
        raise ValueError("; ".join(problems))
    return value


def _value(value: Any) -> SecretReference:
    if isinstance(value, SecretReference):
        return value
    if not isinstance(value, str):
        raise ValueError("it must be a string")  # noqa: TRY004  pydantic collects ValueErrors; no value: it may be secret
    return SecretReference.of_value(value)


def _secrets(value: Any) -> Any:
    """Turn a single secret into a list; `secret` may be either."""
    return value if isinstance(value, list) else (_secret(value),)


def _secret(value: Any) -> Any:
    if isinstance(value, SecretReference):
        return value
    if not isinstance(value, str):
        raise ValueError("it must be a string")  # noqa: TRY004  pydantic collects ValueErrors; no value: it is secret
    return SecretReference.parse(value)


def _without_duplicates(secrets: tuple[SecretReference, ...]) -> tuple[SecretReference, ...]:
    if len(set(secrets)) < len(secrets):
        raise ValueError("a secret is listed twice; remove one of them")
    return secrets


Value = Annotated[SecretReference, BeforeValidator(_value)]
Secrets = Annotated[
    tuple[Annotated[SecretReference, BeforeValidator(_secret)], ...],
    BeforeValidator(_secrets),
    Field(min_length=1, max_length=MAX_SECRETS),
    AfterValidator(_without_duplicates),
]


class Auth(Table):
    """The `auth` of a subscription: a bearer token (RFC 6750), or a username and a password (RFC 7617)."""

    bearer: Value | None = None
    """Bearer token, or a reference to it, such as `"env:TOKEN"` or `"file:PATH"`."""
    username: Value | None = None
    """Username for Basic authentication, or a reference to it; needs `password`."""
    password: Value | None = None
    """Password for Basic authentication, or a reference to it, such as `"env:PASSWORD"`; needs `username`."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if set(self.model_fields_set) not in ({"bearer"}, {"username", "password"}):
            raise ValueError('write { bearer = "env:TOKEN" } or { username = "relay", password = "env:PASSWORD" }')
        return self


class EndpointTable(Table):
    """The keys of a `[[subscriptions]]` table that describe the endpoint: URL, secrets, headers, TLS."""

    url: Url
    """URL to which the events are POSTed, such as `"https://hooks.example.com/linq"`; http or https."""
    secret: Secrets
    """Signing secret: `"env:NAME"`, `"file:PATH"` or `"whsec_..."`. For a rotation, a list of up to five, newest first:
    `webhook-signature` has a signature of each. The older headers have room for the first one only, so a handler that
    checks only those needs the secret it knows to stay first.
    """
    headers: Annotated[dict[str, Value], BeforeValidator(_headers)] = Field(default_factory=dict)
    """Additional request headers, such as `{ "X-Team" = "crm", "X-Api-Key" = "env:CRM_API_KEY" }`; a value may also be
    `"file:PATH"`.
    """
    auth: Auth | None = None
    """The `Authorization` header: `{ bearer = "env:TOKEN" }` or `{ username = "relay", password = "env:PASSWORD" }`.
    Absent: none is sent, unless the url or `headers` has one.
    """
    verify_tls: StrictBool = True
    """True if the subscriber's certificate is verified. `false` accepts any certificate; `relay check` and
    `relay doctor` warn of it.
    """
    ca_file: Annotated[str, Field(min_length=1)] | None = None
    """Path of a PEM file with the certificate authorities that are trusted for the subscriber, relative to relay.toml.
    Absent: the authorities of the operating system.
    """

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        is_https = self.url.lower().startswith(("https:", "env:", "file:"))  # or a reference, which only [alerts] has
        if self.ca_file is not None and not self.verify_tls:
            raise ValueError('"ca_file" contradicts "verify_tls = false"; remove one of them')
        if not is_https and (self.ca_file is not None or not self.verify_tls):
            raise ValueError('"ca_file" and "verify_tls" need an https url')
        sources = [
            "the url" if urlsplit(self.url).username is not None else None,
            '"auth"' if self.auth else None,
            '"headers"' if _AUTHORIZATION in map(str.lower, self.headers) else None,
        ]
        if len(found := [source for source in sources if source]) > 1:
            raise ValueError(f"the Authorization header is set by {' and '.join(found)}; keep only one of them")
        return self


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Everything needed to send to a subscriber, except its url."""

    secrets: tuple[SigningSecret, ...]
    """Newest first; all of them sign."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Additional request headers, including Authorization."""
    verify_tls: bool = True
    ca: str | None = field(default=None, repr=False)
    """Certificate authorities trusted for the subscriber, PEM; None for those of the operating system."""
    egress: Egress = field(default_factory=Egress)
    """Allowed destinations."""
    keeps_answers: bool = False
    """True if the start of each answer is kept, since a shadow is compared by it."""


def references(row: Mapping[str, Any]) -> Iterator[tuple[Path, SecretReference]]:
    """Yield every reference in `row`, the raw TOML table of a subscription.

    Skips unreadable values, so that it also works for a table with mistakes.
    """
    for path, value, parse in _candidates(row):
        if isinstance(value, str):
            with suppress(ValueError):
                yield path, parse(value)


def _candidates(row: Mapping[str, Any]) -> Iterator[tuple[Path, Any, Callable[[str], SecretReference]]]:
    secret = row.get("secret")
    if isinstance(secret, list):
        yield from ((("secret", position), item, SecretReference.parse) for position, item in enumerate(secret))
    else:
        yield ("secret",), secret, SecretReference.parse
    for key in ("headers", "auth"):
        table = row.get(key)
        for name, value in table.items() if isinstance(table, dict) else ():
            yield (key, name), value, SecretReference.of_value
    yield ("ca_file",), row.get("ca_file"), SecretReference.of_file


def check_found(path: Path, text: str) -> None:
    """Check `text`, the value that was found for `path`.

    Raises:
        ValueError: it is invalid; the message does not contain `text`.
    """
    if path[0] == "secret" and SigningSecret(text).decoded is None:
        raise ValueError("the secret is not whsec_ and base64; make one with `relay secret generate`")
    if path[0] in {"headers", "auth"} and not _VALUE.fullmatch(text):
        raise ValueError("the value must be one line of printable ASCII without spaces around it")
    if path == ("auth", "username") and ":" in text:
        raise ValueError("a username must not contain a colon")


def endpoint_of(table: EndpointTable, found: Mapping[Path, str], egress: Egress) -> Endpoint:
    """Build the endpoint of `table` from the values `found` for its references."""
    secrets = [text for path, text in found.items() if path[0] == "secret"]
    headers = {name: found["headers", name] for name in table.headers}
    if table.auth is not None and table.auth.bearer is not None:
        headers["Authorization"] = f"Bearer {found['auth', 'bearer']}"
    elif table.auth is not None:
        pair = f"{found['auth', 'username']}:{found['auth', 'password']}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return Endpoint(tuple(map(SigningSecret, secrets)), headers, table.verify_tls, found.get(("ca_file",)), egress)
