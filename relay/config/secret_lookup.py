"""From the references in relay.toml to endpoints: variables and files are looked up, all that is missing is told.

Works on tables as TOML has them, so that what is missing is found also in a file with other mistakes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from relay.core.config.endpoint import check_found, endpoint_of, references
from relay.core.config.relay_toml import subscription_rows
from relay.core.config.toml_positions import TomlPositions
from relay.core.errors import Problem
from relay.net.target import Target
from relay.net.tls import authorities_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from relay.core.config.endpoint import Endpoint
    from relay.core.config.endpoint import Path as Way
    from relay.core.config.relay_toml import RelayConfig
    from relay.core.secret import SecretReference

Found = list[dict["Way", str]]
"""What was found for each subscription."""


def look_up(text: str, path: Path) -> tuple[Found, list[Problem]]:
    """What the references in `text`, the rules at `path`, stand for, and what is missing or cannot be used."""
    places = TomlPositions(text, str(path))
    found: Found = []
    problems: list[Problem] = []
    for position, row in enumerate(subscription_rows(text)):
        values: dict[Way, str] = {}
        for way, reference in references(row):
            try:
                values[way] = _usable(way, _find(reference, path.parent), values)
            except ValueError as error:
                place = places.of(("subscriptions", position, *way))
                problems.append(Problem(place, f"{row.get('name')}: {error}"))
        found.append(values)
        try:
            Target.from_url(str(row.get("url")))
        except ValueError as error:
            problems.append(Problem(places.of(("subscriptions", position, "url")), f"{row.get('name')}: {error}"))
    return found, problems


def _usable(way: Way, text: str, before: Mapping[Way, str]) -> str:
    """`text`, which was found for `way`, as it is used; what the same subscription refers to `before` is known."""
    check_found(way, text)
    if way[0] == "secret" and text in before.values():
        raise ValueError("it is the same as one before it")
    return authorities_in(text) if way[0] == "ca_file" else text


def endpoints_of(config: RelayConfig, found: Found) -> Mapping[str, Endpoint]:
    """The endpoints of the subscriptions of `config`, by name, if nothing is missing in `found`."""
    return {
        subscription.name: endpoint_of(subscription, values, config.egress)
        for subscription, values in zip(config.subscriptions, found, strict=True)
    }


def files_in(text: str, path: Path) -> Iterator[Path]:
    """The files that `text`, the rules at `path`, refers to."""
    for row in subscription_rows(text):
        yield from (path.parent / one.value for _, one in references(row) if one.source == "file")


def _find(reference: SecretReference, base: Path) -> str:
    """What `reference` points at, without blanks around it; files are relative to `base`."""
    match reference.source:
        case "env":
            text = os.environ.get(reference.value) or dotenv_values(".env").get(reference.value)
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
