"""Every operation of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.web.api.resources import me

if TYPE_CHECKING:
    from relay.web.api.operation import Operation

OPERATIONS: tuple[Operation, ...] = (*me.OPERATIONS,)
