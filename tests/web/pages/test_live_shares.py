"""A team has a share of the streams that all have together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.core.errors import TooMany
from relay.web.api import streams
from relay.web.pages import live

CRM = Principal("crm ci", "crm", EVERY_SCOPE, frozenset({"support"}), token="t1")
CRM_TOO = Principal("crm two", "crm", EVERY_SCOPE, frozenset({"support"}), token="t3")
ERP = Principal("erp ci", "erp", EVERY_SCOPE, frozenset({"billing"}), token="t2")


async def test_team_does_not_hold_every_live_page(monkeypatch: pytest.MonkeyPatch) -> None:
    class Response:
        async def __aenter__(self) -> None:
            pass

        async def __aexit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(live, "sse_response", lambda _: Response())
    monkeypatch.setattr(live, "MAX_OF_VISITOR", 1)
    shared = live.Live()
    crm, erp = (SimpleNamespace(principal=each, request=None) for each in (CRM, ERP))
    page: Any = crm
    other: Any = erp
    async with shared._opened(page), shared._opened(other):
        with pytest.raises(TooMany, match="crm has 1 live pages"):
            async with shared._opened(page):
                pass
    async with shared._opened(page):
        pass


def test_tokens_of_a_team_share_the_streams_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_STREAMS_OF_TOKEN", 1)
    nothing: Any = SimpleNamespace()
    opened = streams.Streams(nothing, nothing).opened
    with (
        opened(CRM),
        opened(ERP),
        pytest.raises(TooMany, match="a token may have 1 streams"),
        opened(CRM_TOO),
    ):
        pass
    with opened(CRM_TOO):
        pass
