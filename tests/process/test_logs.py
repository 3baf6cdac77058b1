from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import structlog

from relay.process.logs import configure_logging

if TYPE_CHECKING:
    import pytest


def test_field_without_a_value_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    structlog.get_logger().info("delivery.attempted", id="e-1", dead=None, status=0, repeat=False, detail="")
    line = json.loads(capsys.readouterr().err)
    assert {name: line[name] for name in line if name != "timestamp"} == {
        "event": "delivery.attempted",
        "level": "info",
        "id": "e-1",
        "status": 0,
        "repeat": False,
        "detail": "",
    }


def test_console_leaves_it_out_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console")
    structlog.get_logger().info("delivery.attempted", id="e-1", dead=None)
    line = capsys.readouterr().err
    assert "id=e-1" in line
    assert "dead" not in line


def test_lines_of_libraries_have_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    logging.getLogger("a.library").warning("careful")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"]) == ("careful", "warning")
