"""Raw requests, a few hundred in both kinds of rounds; `python -m tests.web.api.fuzz --raw` sends far more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.api.fuzzing import serving
from tests.web.api.raw.rounds import Rounds

if TYPE_CHECKING:
    from pathlib import Path

    from relay.process.embedded_redis import Embedded


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_raw_requests_get_documented_answers(redis_server: Embedded, tmp_path: Path) -> None:
    with serving(redis_server.url, tmp_path) as target:
        rounds = Rounds(target, seed=3)
        rounds.one(400)
        rounds.one(400)
    assert rounds.found.faults == []
    assert {200, 201, 303, 400, 401, 403, 404, 422} <= rounds.found.statuses.keys()
