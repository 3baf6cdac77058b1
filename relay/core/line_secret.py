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
