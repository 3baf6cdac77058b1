"""Lookup of the references in relay.toml (`env:NAME`, `file:PATH`): from references to endpoints.

Works on raw TOML tables, so that missing values are also reported for a file with other mistakes. Every missing or
invalid value is reported, not only the first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from relay.config.secrets.files import read_dotenv
from relay.config.variable_forms import header_value
from relay.core.config.checks.toml_positions import TomlPositions
from relay.core.config.endpoint import check_found, endpoint_of, references
from relay.core.config.relay_toml import endpoint_rows
from relay.core.errors import Problem, SettingsError
from relay.core.secret import SecretReference
from relay.net.target import Target
from relay.net.tls import authorities_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.core.config.endpoint import Endpoint
    from relay.core.config.endpoint import Path as KeyPath
    from relay.core.config.linq import LinqAccount
    from relay.core.config.relay_toml import RelayConfig

Found = dict["KeyPath", dict["KeyPath", str]]
"""The values of the references of each endpoint, by the path of its table."""


def look_up(text: str, path: Path, tables: dict[str, Any]) -> tuple[Found, list[Problem]]:
    """Look up the references in `tables`, those of `text` in the file at `path`; return the values and the problems."""
    positions = TomlPositions(text, str(path))
    found: Found = {}
    problems: list[Problem] = []
    for table, row in endpoint_rows(tables).items():
        owner = row.get("name") if table[0] == "subscriptions" else table[0]
        values: dict[KeyPath, str] = {}
        for key_path, reference in references(row):
            try:
                values[key_path] = check_value(key_path, _find(reference, path.parent), values)
            except ValueError as error:
                problems.append(Problem(positions.of((*table, *key_path)), f"{owner}: {error}"))
        found[table] = values
        try:
            if table[0] == "alerts":
                values["url",] = _alerts_url(row, path.parent)
            Target.from_url(str(values.get(("url",), row.get("url"))))
        except ValueError as error:
            problems.append(Problem(positions.of((*table, "url")), f"{owner}: {error}"))
    return found, problems


def _alerts_url(row: Mapping[str, Any], base: Path) -> str:
    """Return the URL of `[alerts]`, which may be a reference: Slack's is a secret as a whole."""
    url = _find(SecretReference.of_value(str(row.get("url"))), base)
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError("the value of url is not an http or https URL")
    return url


def check_value(key_path: KeyPath, text: str, before: Mapping[KeyPath, str]) -> str:
    """Return the value at `key_path` if it is valid; `before` are the subscription's values that precede it."""
    check_found(key_path, text)
    if key_path[0] == "secret" and text in before.values():
        raise ValueError("the same secret is listed before it; remove one of them")
    return authorities_in(text) if key_path[0] == "ca_file" else text


def account_key(account: LinqAccount, base: Path) -> SecretStr:
    """Return the API key of an account of `[[linq.accounts]]`; files are relative to `base`.

    Raises:
        SettingsError: it is missing, or no key.
    """
    try:
        return header_value(SecretStr(_find(SecretReference.of_value(account.key), base)))
    except ValueError as error:
        problem = Problem(f"key of account {account.name} ([[linq.accounts]])", str(error))
        raise SettingsError("The environment is not complete:", (problem,)) from None


def endpoints_of(config: RelayConfig, found: Found) -> Mapping[str, Endpoint]:
    """Return the endpoints of the subscriptions of `config` by name; no value may be missing in `found`."""
    return {
        subscription.name: endpoint_of(
            subscription, found["subscriptions", position], config.egress_of(subscription.team)
        )
        for position, subscription in enumerate(config.subscriptions)
    }


def alerts_endpoint(config: RelayConfig, found: Found) -> tuple[str, Endpoint] | None:
    """Return the URL and the endpoint of `[alerts]`; None without that table."""
    if config.alerts is None:
        return None
    values = found["alerts",]
    return values["url",], endpoint_of(config.alerts, values, config.egress)


def files_in(tables: dict[str, Any], path: Path) -> Iterator[Path]:
    """Yield the files that `tables`, those of the file at `path`, refer to."""
    for row in endpoint_rows(tables).values():
        yield from (path.parent / reference.value for _, reference in references(row) if reference.source == "file")
        if str(url := row.get("url")).startswith("file:"):
            yield path.parent / str(url).removeprefix("file:")


def _find(reference: SecretReference, base: Path) -> str:
    """Return the value that `reference` points at, stripped of whitespace; files are relative to `base`."""
    match reference.source:
        case "env":
            text = os.environ.get(reference.value) or read_dotenv(Path(".env")).get(reference.value)
            if not text:
                raise ValueError(f"the environment variable {reference.value} is not set")
            return text.strip()
        case "file":
            try:
                return (base / reference.value).read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                raise ValueError(f"{reference.value} cannot be read: {error}") from None
        case _:
            return reference.value
