"""A complete environment."""

from __future__ import annotations

import pytest

from relay.config.settings import Settings
from relay.core.errors import SettingsError

KEY = "4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8="

GOOD = {
    "REDIS_URL": "redis://redis.internal:6379/1",
    "REDIS_USERNAME": "relay",
    "REDIS_PASSWORD": "redis/hunter2",
    "RELAY_KEY_PREFIX": "acme",
    "RELAY_SHARDS": "1",
    "RELAY_PUBLIC_URL": "https://relay.example.com/in/",
    "RELAY_LISTEN": "127.0.0.1:9000",
    "RELAY_ADMIN_LISTEN": "[::1]:9001",
    "RELAY_CONFIG": "/etc/relay/rules.toml",
    "RELAY_DATA_DIR": "/var/lib/relay",
    "RELAY_SECRET_KEY": KEY.replace("-", "+").replace("_", "/"),
    "RELAY_SECRET_KEY_OLD": f"{KEY},{KEY}",
    "RELAY_REPLICAS": "2",
    "RELAY_DEDUPE_WINDOW": "90m",
    "RELAY_GAP_WINDOW": "36h",
    "RELAY_MAX_CONNECTIONS": "500",
    "RELAY_MAX_UNVERIFIED_MIB": "16",
    "RELAY_IDLE_TIMEOUT": "75s",
    "RELAY_SHUTDOWN_DELAY": "5",
    "RELAY_API_RATE": "20",
    "RELAY_API_URL": "https://relay.internal:8081",
    "RELAY_API_TOKEN": "token-hunter2",
    "RELAY_HIDE_BODIES": "true",
    "RELAY_WORKER_NICE": "3",
    "RELAY_MEMORY_HIGH_WATER": "0.8",
    "RELAY_PAGE_USER_HEADER": "Remote-User",
    "RELAY_PAGE_PROXIES": "10.0.0.5",
    "RELAY_PAGE_USERS": "alice=operator",
    "RELAY_REVISION": "0123abcd",
    "RELAY_LOG_LEVEL": "warning",
    "RELAY_LOG_FORMAT": "json",
    "LINQ_API_V3_API_KEY": "linq-key-hunter2",
    "LINQ_API_V3_BASE_URL": "http://127.0.0.1:8090/api/partner",
    "LINQ_V2_TOKEN": "linq-token-hunter2",
    "LINQ_V2_BASE_URL": "http://127.0.0.1:8090/api/partner/v2",
    "LINQ_V2_WEBHOOK_SECRET": "v2-secret-hunter2",
    "LINQ_V2_WEBHOOK_SECRET_OLD": "old-v2-secret-hunter2",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces",
    "OTEL_TRACES_SAMPLER": "traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0.01",
    "OTEL_SERVICE_NAME": "relay",
    "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    "OTEL_SDK_DISABLED": "true",
    "SENTRY_DSN": "https://hunter2@sentry.example.com/1",
    "SENTRY_ENVIRONMENT": "test",
    "SENTRY_RELEASE": "1",
}


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def problems_with(*needs: str) -> dict[str, str]:
    """Return the problems of the environment, by variable."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(*needs)
    assert str(caught.value).startswith("The environment is not complete:\n  ")
    return {problem.place: problem.message for problem in caught.value.problems}
