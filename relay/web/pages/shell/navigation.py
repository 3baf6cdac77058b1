"""The sections of the site, as its navigation shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.access.principal import Principal


class Section(NamedTuple):
    """A section of the site."""

    path: str
    label: str
    group: str
    for_operators: bool = False

    def contains(self, path: str) -> bool:
        """Return True if the page at `path` belongs to it."""
        return path == self.path or (self.path != "/" and path.startswith(f"{self.path}/"))


_SECTIONS = (
    Section("/", "Overview", ""),
    Section("/topics", "Topics", "Events"),
    Section("/events", "Events", "Events"),
    Section("/subscriptions", "Subscriptions", "Delivery"),
    Section("/dead", "Dead letters", "Delivery"),
    Section("/groups", "Pull groups", "Delivery"),
    Section("/replays", "Replays", "Delivery"),
    Section("/lines", "Lines", "Linq"),
    Section("/linq", "Subscriptions at Linq", "Linq", for_operators=True),
    Section("/quarantine", "Quarantine", "Linq", for_operators=True),
    Section("/contracts", "Contracts", "Linq", for_operators=True),
    Section("/teams", "Teams and tokens", "Access"),
    Section("/audit", "Audit", "Access"),
)


def sections(principal: Principal) -> Sequence[Section]:
    """Return the sections that a principal sees."""
    return [section for section in _SECTIONS if principal.is_operator or not section.for_operators]
