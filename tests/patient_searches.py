"""Searches and lists that have time enough.

A request searches for some hundredths of a second and then gives what it has, with a cursor. On a busy machine that can
be over before the first row is read, and a test that expects all of it would fail. A test of that end asks for no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.services import page
from relay.services.topics.history.scan import Budget
from tests.support import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

_NONE = 0.001
"""Seconds that count as no time."""


@pytest.fixture(scope="session", autouse=True)
def patient_searches() -> Iterator[None]:
    """Let no search or list of this process end early on a busy machine."""
    limited = Budget.__init__

    def patient(budget: Budget, seconds: float | None) -> None:
        limited(budget, seconds if seconds is None or seconds < _NONE else max(seconds, TIMEOUT))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Budget, "__init__", patient)
        patch.setattr(page, "_MAX_SECONDS", TIMEOUT)
        yield
