"""A signing secret that we hold for one of our Linq subscriptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.core.secret import SigningSecret


@dataclass(frozen=True, slots=True)
class KnownSecret:
    """The secret of one generation of one line's Linq subscription; several are alive while a rotation goes on."""

    line: str | None
    """The line the Linq subscription is bound to; None for one that spans the account."""
    generation: int
    """The `gen` parameter of the subscription's target URL; 0 where there is none (v2)."""
    secret: SigningSecret
