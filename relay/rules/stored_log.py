"""Log lines about stored subscriptions that are not in force, one for each reason and name, until that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.store.stored_subscriptions.record import NO_KEY

if TYPE_CHECKING:
    from relay.rules.merge import View

_MAX_LOGGED = 20  # subscriptions that are logged one by one; one line counts the rest

log = structlog.get_logger()


class StoredLog:
    """The log of one process."""

    def __init__(self) -> None:
        self._unusable: dict[str, str] = {}
        self._shadowed: frozenset[str] = frozenset()

    def note(self, view: View) -> None:
        """Log what is not in force in `view`, unless it was logged before."""
        new = {name: why for name, why in view.unusable.items() if self._unusable.get(name) != why}
        self._unusable = dict(view.unusable)
        without_key = sorted(name for name, why in new.items() if why == NO_KEY)
        if without_key:
            shown = ", ".join(without_key[:_MAX_LOGGED])
            log.error("subscriptions.unusable", subscription=shown, subscriptions=len(without_key), why=NO_KEY)
        others = sorted(name for name in new if new[name] != NO_KEY)
        for name in others[:_MAX_LOGGED]:
            log.error("subscriptions.unusable", subscription=name, why=new[name], note="no event is delivered to it")
        if len(others) > _MAX_LOGGED:
            log.error("subscriptions.unusable", subscriptions=len(others) - _MAX_LOGGED, why="and as many more")
        for name in sorted(view.shadowed - self._shadowed):
            note = "relay.toml has a subscription of that name, which counts; delete or rename one of them"
            log.warning("subscriptions.shadowed", subscription=name, note=note)
        self._shadowed = view.shadowed
