"""relay.toml in a directory of its own, and what was read from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import Loaded
    from relay.core.secret import SigningSecret


TOPIC = '[[topics]]\nname = "t"\nevents = ["*"]\n'


def subscription(name: str, secret: str) -> str:
    return f'\n[[subscriptions]]\nname = "{name}"\ntopic = "t"\nurl = "https://a.b"\nsecret = "{secret}"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.toml"


def secrets_of(loaded: Loaded) -> dict[str, SigningSecret]:
    """Return the only secret of each subscription."""
    found = {}
    for name, endpoint in loaded.endpoints.items():
        (found[name],) = endpoint.secrets
    return found
