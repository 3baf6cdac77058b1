"""The settings that calls to Linq's APIs need; a worker imports them without the rest of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.core.config.relay_toml import RelayConfig

NEEDS = ("relay_public_url", "relay_secret_key", "linq_api_v3_api_key")
"""The settings that every call to Linq's v3 API needs, where relay.toml has no `[[linq.accounts]]`."""

V2_NEEDS = ("relay_public_url", "relay_secret_key", "linq_v2_token", "linq_v2_webhook_secret")
"""The settings that `[linq.v2]` needs."""


def needs_of(config: RelayConfig) -> tuple[str, ...]:
    """Return the settings that every call to Linq's v3 API needs under these rules."""
    return NEEDS[:-1] if config.linq.accounts else NEEDS
