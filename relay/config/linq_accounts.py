"""The accounts at Linq's v3 API: that of LINQ_API_V3_API_KEY, which has no name, and those of `[[linq.accounts]]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.config.secrets.lookup import account_key

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig

KEY = "linq_api_v3_api_key"


def accounts_of(settings: Settings, config: RelayConfig) -> list[str | None]:
    """Return the names of the accounts; None is that of LINQ_API_V3_API_KEY, also where there is no other."""
    named: list[str | None] = [account.name for account in config.linq.accounts]
    return [None, *named] if settings.linq_api_v3_api_key is not None or not named else named


def key_and_rules(settings: Settings, config: RelayConfig, name: str | None) -> tuple[str, RelayConfig]:
    """Return the API key of an account, and the rules with its lines in `[linq]`.

    Raises:
        SettingsError: the key is missing.
    """
    if name is None:
        settings.require(KEY, because="Linq's API is asked")
        assert settings.linq_api_v3_api_key is not None  # noqa: S101  it is required
        return settings.linq_api_v3_api_key.get_secret_value(), config
    account = next(each for each in config.linq.accounts if each.name == name)
    key = account_key(account, settings.relay_config.parent).get_secret_value()
    return key, config.model_copy(update={"linq": config.linq.of(account)})
