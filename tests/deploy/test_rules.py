"""The alerts of deploy/monitoring: each fires and is quiet when it should, and leads to its section of the runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.alert_cases import CASES, promtool_tests

ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "deploy/monitoring/rules.yaml"
RUNBOOK = ROOT / "deploy/docs/runbook.md"


def groups() -> list[dict[str, Any]]:
    """Return the groups of rules, that of the rates first."""
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return found


def alerts() -> dict[str, dict[str, Any]]:
    """Return each alerting rule by its name."""
    return {rule["alert"]: rule for group in groups() for rule in group["rules"] if "alert" in rule}


@pytest.mark.needs_tool("promtool")
@pytest.mark.timeout(180)
def test_each_alert_fires_and_is_quiet_when_it_should(tmp_path: Path) -> None:
    files, names = [], [group["name"] for group in groups()[1:]]
    for is_long in (False, True):
        files.append(tmp_path / f"{'long' if is_long else 'short'}.test.yaml")
        files[-1].write_text(
            yaml.safe_dump(promtool_tests(alerts(), str(RULES), names, is_long=is_long)), encoding="utf-8"
        )
    done = subprocess.run(  # noqa: S603  our own words
        ["promtool", "test", "rules", *map(str, files)],  # noqa: S607  the one that is installed
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case_and_is_described() -> None:
    assert {case.alert for case in CASES} == alerts().keys()
    for name, rule in alerts().items():
        assert rule["for"], name
        assert rule["labels"]["severity"] in {"warning", "critical"}, name
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, name
        assert rule["annotations"]["runbook_url"].endswith(f"/runbook.md#{name.lower()}")


@pytest.mark.skipif(not RUNBOOK.exists(), reason="the runbook is written apart")
def test_each_alert_has_a_section_in_the_runbook() -> None:
    headings = re.findall(r"^#+ (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert alerts().keys() <= set(headings)
