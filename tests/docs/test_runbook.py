"""The runbook: a section for each alert and for each warning or error of the log, with what to do."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
import yaml

from tests.docs.log_events import loud_events
from tests.docs.pages import ROOT, page

RULES = ROOT / "deploy" / "monitoring" / "rules.yaml"
RUNBOOK = page("runbook.md")
NAME = re.compile(r"`([a-z_]+\.[a-z_]+)`")
PARTS = ("**Look:**", "**Do:**", "**Not:**")


class Section(NamedTuple):
    """A section of the runbook."""

    heading: str
    text: str

    @property
    def events(self) -> set[str]:
        """The log events that it is about: those in its heading, or for a pattern those that it lists first."""
        listed = re.search(r"^Names: (.*?)\n\n", self.text, re.MULTILINE | re.DOTALL)
        return set(NAME.findall(listed[1] if listed else self.heading))


def sections() -> list[Section]:
    """Return the sections about an alert or about log events."""
    parts = re.split(r"^#{3,4} (.*)$", RUNBOOK.text, flags=re.MULTILINE)[1:]
    return [Section(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]


def test_every_loud_log_event_has_a_section_and_no_other() -> None:
    described = set().union(*(section.events for section in sections()))
    assert loud_events() - described == set(), "give each a section of deploy/docs/runbook.md"
    assert described - loud_events() == set(), "no longer logged: remove the section"


def test_every_alert_section_says_what_to_look_at_do_and_not_do() -> None:
    alerts = [section for section in sections() if section.heading.startswith("Relay")]
    assert alerts
    for section in alerts:
        positions = [section.text.find(part) for part in PARTS]
        assert min(positions) > 0, section.heading
        assert positions == sorted(positions), section.heading


@pytest.mark.skipif(not RULES.exists(), reason="no alerting rules in this checkout")
def test_every_alert_has_a_section_and_no_other() -> None:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert {section.heading for section in sections() if section.heading.startswith("Relay")} == alerts


def test_contents_list_every_alert() -> None:
    listed = re.findall(r"\[(Relay\w+)\]\(#(\w+)\) ?[·|]", RUNBOOK.text)
    assert {name for name, _ in listed} == {s.heading for s in sections() if s.heading.startswith("Relay")}
    assert all(anchor == name.lower() for name, anchor in listed)
