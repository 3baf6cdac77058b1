"""The table of a subscription as it is given to the API: checked like one of relay.toml, and split from its secrets.

Values are literal: a reference (`env:NAME`, `file:PATH`) or a path of the relay's host would let a team read what is
not its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic_core import to_json

from relay.config.secrets.lookup import check_value
from relay.core.config.pairs.shadows import row_of
from relay.core.config.relay_toml import Subscription
from relay.core.config.stored_rows import check_rows
from relay.core.errors import Invalid, Problem
from relay.core.secret import SigningSecret
from relay.net.target import Target
from relay.store.stored_subscriptions.record import SecretValues

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.core.config.endpoint import Path
    from relay.rules.merge import View
    from relay.store.stored_subscriptions.record import StoredSubscription

NAMED = ("headers", "auth")
"""The keys whose values are secret, and whose names are not."""

_MAX_SIZE = 32 * 1024  # bytes of the table and its secret values
_MIN_KEY = 16  # bytes, as of base64; 32 are usual
_REFERENCES = ("env:", "file:")


def split(table: Mapping[str, Any]) -> tuple[dict[str, Any], SecretValues]:
    """Return the table without secret values, and these.

    Raises:
        Invalid: one is not a literal value, or the table is too large; names the keys.
    """
    if problems := list(_problems(table)):
        raise Invalid(*problems)
    secret = table.get("secret", ())
    secrets = (secret,) if isinstance(secret, str) else tuple(secret)
    named = {key: dict(table[key]) for key in NAMED if key in table}
    public = {key: value for key, value in table.items() if key not in {"secret", "name"}}
    public |= {key: dict.fromkeys(values, "") for key, values in named.items()}
    return public, SecretValues(secrets, named.get("headers", {}), named.get("auth", {}))


def check(record: StoredSubscription, values: SecretValues, view: View, now_ms: int) -> Subscription:
    """Check a record and its secret values as relay.toml would be.

    Raises:
        Invalid: it has mistakes; names the key of each.
    """
    others = {each.name: row_of(each) for each in view.config.subscriptions if each.name != record.name}
    [checked] = check_rows([record.row(now_ms)], view.file, list(view.teams.values()), others)
    problems = [] if isinstance(checked, Subscription) else list(checked)
    found: dict[Path, str] = {}
    for path, text in record.found(values, now_ms).items():
        try:
            found[path] = check_value(path, text, found)
            _check_length(path, text)
        except ValueError as error:
            problems.append(Problem(".".join(map(str, path)), str(error)))
    if not any(problem.place == "url" for problem in problems):
        try:
            Target.from_url(str(record.table.get("url")))
        except ValueError as error:
            problems.append(Problem("url", str(error)))
    if problems or not isinstance(checked, Subscription):
        raise Invalid(*problems)
    return checked


def _check_length(path: Path, text: str) -> None:
    key = SigningSecret(text).decoded if path[0] == "secret" else None
    if key is not None and len(key) < _MIN_KEY:
        raise ValueError(f"it has {len(key)} bytes, at least {_MIN_KEY} are needed; leave it out to get a good one")


def _problems(table: Mapping[str, Any]) -> Iterator[Problem]:
    if len(to_json(dict(table), fallback=str)) > _MAX_SIZE:
        yield Problem("subscription", f"the table has more than {_MAX_SIZE // 1024} KiB")
        return
    if "ca_file" in table:
        yield Problem("ca_file", "only a subscription in relay.toml can have it: it is a file of the relay's host")
    secret = table.get("secret", ())
    for item in secret if isinstance(secret, list | tuple) else (secret,):
        yield from _text_problems("secret", item)
    for key in NAMED:
        values = table.get(key, {})
        if not isinstance(values, dict):
            yield Problem(key, "it must be an object of names and values")
            continue
        for name, value in values.items():
            yield from _text_problems(f"{key}.{name}", value)
    if isinstance(url := table.get("url"), str) and _has_credentials(url):
        yield Problem("url", "write the user name and the password as auth, which is stored encrypted")


def _text_problems(place: str, value: Any) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield Problem(place, "it must be a string")
    elif value.startswith(_REFERENCES):
        yield Problem(place, "write the value itself; only relay.toml can refer to a variable or a file of the relay")


def _has_credentials(url: str) -> bool:
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        return False  # not a URL, which is reported elsewhere
