"""Signing secret of one of our Linq subscriptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.core.secret import SigningSecret


V2_SECRET = 0
V2_FORMER_SECRET = -1
"""Generations of the two secrets that v2 events may be signed with."""


@dataclass(frozen=True, slots=True)
class LineSecret:
    """Secret of one generation of one line's Linq subscription; several are valid during a rotation."""

    line: str | None
    """Line of the Linq subscription; None for one that spans the account."""
    generation: int
    """The `gen` parameter of the subscription's target URL; `V2_SECRET` or `V2_FORMER_SECRET` for v2."""
    secret: SigningSecret
    account: str | None = None
    """Its account of `[[linq.accounts]]`; None for that of LINQ_API_V3_API_KEY."""

    @property
    def place(self) -> str | None:
        """Its account and line, as `place_of` writes them."""
        return place_of(self.account, self.line)


def place_of(account: str | None, line: str | None) -> str | None:
    """Return account and line as one key: the line alone for the account that has no name."""
    return line if account is None else f"{account}/{line or ''}"
