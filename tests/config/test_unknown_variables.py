"""Variables that look like the relay's and are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.config.settings import Settings
from tests.config.variables import GOOD, set_all


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        (
            "RELAY_DEDUP_WINDOW",
            "warning: RELAY_DEDUP_WINDOW is not a variable of the relay; did you mean RELAY_DEDUPE_WINDOW?\n",
        ),
        ("relay_log_levle", "warning: RELAY_LOG_LEVLE is not a variable of the relay; did you mean RELAY_LOG_LEVEL?\n"),
        ("RELAY_XYZZY_0815_QUUX", "warning: RELAY_XYZZY_0815_QUUX is not a variable of the relay\n"),
    ],
)
@pytest.mark.parametrize("in_file", [False, True])
def test_unknown_variable_warning_suggests_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, warning: str, *, in_file: bool
) -> None:
    if in_file:
        Path(".env").write_text(f"{name}=hunter2\n")
    else:
        monkeypatch.setenv(name, "hunter2")
    assert Settings.load().relay_dedupe_window == 6 * 3600
    out, err = capsys.readouterr()
    assert (out, err) == ("", warning)


def test_known_and_foreign_variables_cause_no_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_all(monkeypatch, GOOD | {"LINQ_SOMETHING": "1", "MY_RELAY_LOG_LEVLE": "1"})
    Settings.load()
    assert capsys.readouterr().err == ""


def test_variable_used_in_relay_toml_causes_no_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("relay.toml").write_text('[[subscriptions]]\nsecret = "env:RELAY_CRM_SECRET"\n')
    set_all(monkeypatch, {"RELAY_CRM_SECRET": "1", "RELAY_CRM_SECRETS": "1"})
    Settings.load()
    assert capsys.readouterr().err == "warning: RELAY_CRM_SECRETS is not a variable of the relay\n"
