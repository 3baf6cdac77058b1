"""Timings: the defaults of production, and the variable that shortens them in processes started by tests."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from relay.config.settings import Settings
from relay.process.timings import DEFAULTS, Timings, load_timings


def test_production_uses_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELAY_TEST_TIMINGS", raising=False)
    assert load_timings() == DEFAULTS


def test_variable_overrides_a_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_TEST_TIMINGS", '{"lease": 1, "arq_lock": 1.5}')
    assert load_timings() == Timings(lease=1, arq_lock=1.5)


def test_unknown_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_TEST_TIMINGS", '{"lock": 1}')
    with pytest.raises(TypeError, match="lock"):
        load_timings()


def test_variable_is_not_a_setting() -> None:
    assert "relay_test_timings" not in Settings.model_fields


def test_defaults_are_consistent() -> None:
    assert 2 * DEFAULTS.lease_renew < DEFAULTS.lease < DEFAULTS.arq_lock
    assert DEFAULTS.grace < DEFAULTS.stop
    assert all(seconds > 0 for seconds in asdict(DEFAULTS).values())
