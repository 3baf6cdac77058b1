"""The chart, rendered once for all tests."""

from __future__ import annotations

import pytest

from tests.deploy.helm import SETS, Object, render


@pytest.fixture(scope="session")
def rendered() -> dict[str, list[Object]]:
    """Return the objects of each set of values."""
    return {values.name.removesuffix("-values.yaml"): render(values) for values in SETS}
