"""Opt-outs: the handles that a line must not write to, and the question whether it may write to one."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, Invalid, Problem
from relay.core.lines import is_line
from relay.services.operators.lines import check_line
from relay.services.page import DEFAULT_LIMIT, Page, check_limit
from relay.store.lines import opt_outs as registry
from relay.store.lines.opt_outs import OptOut as OptOut  # noqa: PLC0414  of what this module returns

if TYPE_CHECKING:
    from relay.core.access.principal import Principal
    from relay.services.context import Context

_MAX_HANDLE = 254  # characters of an e-mail address, by RFC 5321


@dataclass(frozen=True, slots=True)
class Permission:
    """The answer to the question whether a line may write to a handle."""

    line: str
    handle: str
    """As it is kept: e-mail addresses in lower case."""
    may_write: bool
    """False if the handle has opted out of the line."""
    opted_out_ms: int | None
    """Time of its STOP, Unix milliseconds; None if it may be written to."""


async def list_opt_outs(
    context: Context, principal: Principal, line: str, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> Page[OptOut]:
    """Return a page of the handles that have opted out of a line, the oldest first.

    Raises:
        NotFound: the principal sees no such line.
        Conflict: `[linq] opt_outs` is off.
        Invalid: the cursor or the limit is wrong.
    """
    principal.require(Scope.READ)
    await check_line(context, principal, line)
    await _check_on(context)
    after, limit = _place(cursor), check_limit(limit)
    found = await registry.list_opt_outs(context.redis, line, limit + 1, after)
    following = _cursor(found[limit - 1]) if len(found) > limit else None
    return Page(tuple(found[:limit]), following)


async def ask(context: Context, principal: Principal, line: str, handle: str) -> Permission:
    """Return whether a line may write to a handle, as far as the relay knows.

    Raises:
        NotFound: the principal sees no such line.
        Conflict: `[linq] opt_outs` is off, so the relay cannot tell.
        Invalid: it is no handle.
    """
    principal.require(Scope.READ)
    await check_line(context, principal, line)
    await _check_on(context)
    known = _checked(handle)
    at_ms = await registry.opted_out_at(context.redis, line, known)
    return Permission(line, known, at_ms is None, at_ms)


async def erase(context: Context, principal: Principal, handle: str, why: str) -> list[str]:
    """Delete every record of a handle, of all lines; return the lines that had one. The audit does not name the handle.

    Raises:
        Invalid: it is no handle.
    """
    principal.require_operator(Scope.ADMIN)
    known = _checked(handle)
    await context.record(principal, "opt-outs erase", "a handle", why=why)
    return await registry.erase_handle(context.redis, known)


async def _check_on(context: Context) -> None:
    if not (await context.config()).linq.opt_outs:
        raise Conflict("no registry of opt-outs is kept; opt_outs = true in [linq] switches it on")


def _checked(handle: str) -> str:
    known = registry.handle_of(handle)
    if is_line(known) or ("@" in known and len(known) <= _MAX_HANDLE and not known.isspace()):
        return known
    raise Invalid(
        Problem(
            "handle", f'"{handle}" is not a handle; write a number in E.164, such as +13035550188, or an e-mail address'
        )
    )


def _place(cursor: str | None) -> OptOut | None:
    """Return the opt-out after which a page begins; None for the first page."""
    if cursor is None:
        return None
    try:
        at_ms, _, handle = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode().partition(" ")
        return OptOut(handle, int(at_ms))
    except ValueError:
        raise Invalid(Problem("cursor", "it is not a cursor of this list; use the one of the previous page")) from None


def _cursor(last: OptOut) -> str:
    return urlsafe_b64encode(f"{last.at_ms} {last.handle}".encode()).decode().rstrip("=")
