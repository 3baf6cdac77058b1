"""compose.yaml: valid, hardened, and its services run together with a sandbox in place of Linq."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values
from jsonschema import Draft202012Validator

from relay.core.config.relay_toml import parse_config
from tests.deploy.composed import FILE, ROOT, composed, interpolated, services
from tests.support import eventually

SCHEMA = Path(__file__).parent / "compose-spec.json"
"""Of https://github.com/compose-spec/compose-go v2.16.2, `schema/compose-spec.json`, Apache License 2.0."""
SANDBOX = {name: value or "" for name, value in dotenv_values(FILE.parent / "compose" / "sandbox.env").items()}
ROLES = ("ingress", "worker", "admin", "bootstrap")


def test_file_is_valid() -> None:
    parsed = yaml.safe_load(FILE.read_text())
    errors = Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(parsed)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_services_are_hardened_and_only_the_ingress_is_public() -> None:
    for name, service in services(SANDBOX).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        published = [port for port in service.get("ports", ()) if not port.startswith("127.0.0.1:")]
        assert published == (["8080:8080"] if name == "ingress" else []), name


def test_files_and_variables_that_it_names_exist() -> None:
    found = services(SANDBOX)
    volumes = yaml.safe_load(FILE.read_text())["volumes"]
    for service in found.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in volumes or (FILE.parent / source).exists(), source
    parse_config((FILE.parent / "compose" / "sandbox" / "relay.toml").read_text())
    with pytest.raises(ValueError, match=r"VALKEY_PASSWORD: set it in \.env"):
        interpolated(FILE.read_text(), {})


def test_redis_runs_as_recommended() -> None:
    command = " ".join(services(SANDBOX)["redis"]["command"])
    settings = dict(re.findall(r"--([\w-]+) \"?([\w.]+)", command))
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "always",
        "auto-aof-rewrite-min-size": "256mb",
        "maxmemory": "1gb",
        "maxmemory-policy": "noeviction",
    }
    page = (ROOT / "deploy" / "docs" / "redis.md").read_text()
    assert all(f"{name} {value}" in page for name, value in settings.items() if name != "maxmemory")


@pytest.mark.background
@pytest.mark.slow
@pytest.mark.needs_tool("redis-cli", "valkey-cli")
@pytest.mark.timeout(180)
async def test_services_deliver_what_the_sandbox_sends(tmp_path: Path) -> None:
    with composed(SANDBOX, tmp_path / "log") as compose:
        for names in (["redis"], ["ingress"], ["sandbox", "worker", "admin"]):
            for name in names:
                compose.start(name)
            for name in names:
                assert await asyncio.to_thread(compose.becomes_healthy, name), compose.log.read_text()
        assert await asyncio.to_thread(compose.start("bootstrap").wait, 60) == 0, compose.log.read_text()

        def has_events() -> bool:  # a question to Redis takes a hundredth of the CPU time of a command
            ask = 'REDISCLI_AUTH="$VALKEY_PASSWORD" valkey-cli XLEN relay:topic:everything'
            return int(compose.execute("redis", "sh", "-c", ask) or 0) >= 3

        def routed() -> int:
            said = compose.execute("ingress", "relay", "ledger", "--json")
            ledger: dict[str, Any] = json.loads(said) if said else {"totals": {}}
            return int(ledger["totals"].get("accepted", 0))

        assert await eventually(has_events, timeout=60), compose.log.read_text()
        assert await eventually(lambda: routed() >= 3, timeout=60), compose.log.read_text()
        assert compose.execute("ingress", "relay", "health", "--ready")
        assert set(compose.stop().values()) == {0}, compose.log.read_text()
