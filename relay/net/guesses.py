"""Guesses of a secret, such as a token: each address has a budget of wrong ones, and all addresses together.

Beyond it a secret that this process does not know is not looked up, so that guesses cost Redis nothing; secrets that
have been right lately work as before, also behind the same proxy.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING

from relay.net.failure_limit import Budget, FailureLimit

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY_AFTER = 5.0
"""Seconds after which it is worth to try again."""

_EACH = Budget(rate=1, burst=20)
_ALL = Budget(rate=100, burst=400)
_MAX_KNOWN = 4096  # secrets


class Guesses:
    """The budgets, and the secrets that were right."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns seconds."""
        self._failures = FailureLimit(0, clock, each=_EACH, all_together=_ALL)
        self._known: OrderedDict[bytes, None] = OrderedDict()  # their digests

    def may_try(self, text: str, source: str) -> bool:
        """Return True if a secret from the address `source` may be looked up."""
        return _digest(text) in self._known or self._failures.has_room(source)

    def right(self, text: str) -> None:
        """Note that a secret was right."""
        digest = _digest(text)
        self._known[digest] = None
        self._known.move_to_end(digest)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    def wrong(self, text: str, source: str) -> None:
        """Note that a secret was wrong."""
        self._known.pop(_digest(text), None)
        self._failures.take(source)


def _digest(text: str) -> bytes:
    return sha256(text.encode(errors="surrogatepass")).digest()
