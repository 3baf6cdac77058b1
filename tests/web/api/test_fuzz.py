"""Requests that schemathesis makes, a few to each operation; `python -m tests.web.api.fuzz` sends far more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.api.fuzzing import fuzz, serving

if TYPE_CHECKING:
    from pathlib import Path

    from relay.process.embedded_redis import Embedded


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_fuzzed_requests_get_documented_answers(redis_server: Embedded, tmp_path: Path) -> None:
    with serving(redis_server.url, tmp_path) as target:
        fuzz(target, 3)
        assert target.statuses[200] > 20
        assert {401, 403, 404, 422} <= target.statuses.keys()
