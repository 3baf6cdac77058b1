from __future__ import annotations

import errno
import gc
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from relay.process import imports
from relay.process.imports import lasting_imports

if TYPE_CHECKING:
    from types import ModuleType


def test_collector_ignores_what_was_imported() -> None:
    before = gc.get_freeze_count()
    try:
        with lasting_imports():
            assert not gc.isenabled()
            with lasting_imports():  # a command can import another module
                assert not gc.isenabled()
            assert gc.get_freeze_count() == before
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


_NEVER = {  # what a role does without
    "ingress": ("aiohttp", "workers", "tomllib", "relay.core.config.relay_toml", "relay.bootstrap"),
    "worker": (
        *("aiohttp", "cryptography.fernet", "phonenumbers", "relay.alerts.post", "relay.bootstrap.factory"),
        *("relay.consumer.consumer", "relay.ingress_parts", "aiodns", "pycares", "workers.maintenance.retention"),
        "relay.store.sharding.growth.completion",
    ),
}
_NONE = (  # what none needs: SDKs, schemas, documents, pages, command lines, metadata of distributions
    *("linq", "httpx", "anyio", "jwt", "rich", "pygments", "typer", "click", "dotenv", "jinja2", "aiohttp_jinja2"),
    *("http.client", "http.server", "wsgiref", "urllib.request"),
    *("openapi_pydantic", "pydantic_settings", "jmespath", "opentelemetry", "sentry_sdk", "jsonschema"),
    *("relay.web.api", "relay.web.pages", "relay.cli.program", "relay.ui", "relay.services", "relay.sandbox"),
)
_IMPORT = """
import sys
from relay.cli.roles import role_of
assert role_of(sys.argv[1:2]) is not None
print(*sorted(name for name in sys.modules for heavy in sys.argv[2:] if (name + ".").startswith(heavy + ".")))
"""


@pytest.mark.parametrize("role", _NEVER)
def test_role_imports_nothing_that_it_does_not_use(role: str) -> None:
    command = [sys.executable, "-c", _IMPORT, role, *_NEVER[role], *_NONE]
    assert subprocess.run(command, capture_output=True, check=True, text=True, timeout=100).stdout == "\n"  # noqa: S603


def test_redis_finds_pyjwt_when_it_needs_it() -> None:
    program = """
import sys
from relay.process.imports import lasting_imports
with lasting_imports(are_lean=True):
    import redis.auth.token, structlog
assert not {"jwt", "rich"} & sys.modules.keys()
import jwt, rich
assert redis.auth.token.JWToken(jwt.encode({"exp": 2e9, "iat": 1, "oid": "x"}, "k" * 32)).is_expired() is False
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)  # noqa: S603


async def test_import_without_a_descriptor_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [OSError(errno.EMFILE, "Too many open files")] * 2

    def import_or_fail(name: str) -> ModuleType:
        if errors:
            raise errors.pop()
        return import_module(name)

    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.setattr(imports, "import_module", import_or_fail)
    monkeypatch.setattr(imports, "_PAUSE", 0.0)
    await imports.import_later("colorsys")
    assert not errors
    assert "colorsys" in sys.modules


async def test_module_that_cannot_be_read_is_no_reason_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> ModuleType:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.setattr(imports, "import_module", fail)
    with pytest.raises(OSError, match="Input/output"):
        await imports.import_later("colorsys")
