"""Tokens: making, rotating and revoking them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from relay.core.access.scopes import Scope
from relay.core.config.fields import Name
from relay.services.account import tokens
from relay.web.api.models import (
    DurationText,
    Input,
    Moment,
    Output,
    Page,
    Paging,
    Reason,
    Why,
    optional_moment,
    part_of,
)
from relay.web.api.operation import Call, Tag, operation

if TYPE_CHECKING:
    from relay.services.account.tokens import NewToken

TAG = Tag("tokens", "Tokens of a team, or of operators. The text of a token is shown once.")


class TokenPath(Input):
    """The path of a token."""

    token: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{12}$")]


class Token(Output):
    """A token, without its secret."""

    id: str
    """Its id, which is no secret."""
    label: str
    """The use of the token; the audit shows it."""
    team: str | None
    """Its team; null for an operator's."""
    scopes: list[Scope]
    state: str
    """`valid`, `expired` or `revoked`."""
    created: Moment = Field(validation_alias="created_ms")
    """When it was made."""
    created_by: str
    """The name of who made it."""
    parent: str | None
    """The id of the token that made it; null if the command line did."""
    expires: Moment | None = Field(validation_alias="expires_ms")
    """Null if it never expires."""
    revoked: Moment | None = Field(validation_alias="revoked_ms")
    """When it was revoked; null if it was not."""
    used: Moment | None = Field(validation_alias="used_ms")
    """The last use, to the minute."""
    used_from: str | None
    """The address of the last use."""


class TokenWithText(Output):
    """A token that was just made or rotated."""

    token: Token
    """The token."""
    text: str
    """Send it as `Authorization: Bearer <text>`. It cannot be read again."""
    former_until: Moment | None
    """The end of the former text; null if there is none."""


class TokenQuery(Paging):
    """Tokens that are asked for."""

    team: Name | None = None


class TokenOrder(Input):
    """A token to make."""

    label: Annotated[str, Field(min_length=1, max_length=64)]
    """The use of the token; the audit shows it."""
    team: Name | None = None
    """Its team; null for an operator's token, which only an operator can make."""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)]
    """No scope that the present token lacks."""
    lifetime: DurationText | None = tokens.DEFAULT_LIFETIME
    """Null for one that never expires; it ends with the present token at the latest."""
    why: Why | None = None


class TokenRotation(Input):
    """A rotation of a token."""

    overlap: DurationText = tokens.DEFAULT_OVERLAP
    """The time for which the former text is still accepted."""
    lifetime: DurationText | None = tokens.DEFAULT_LIFETIME
    """Null for one that never expires; it ends with the present token at the latest."""
    why: Why | None = None


@operation("GET", "/tokens", tag=TAG, scope=Scope.READ)
async def list_tokens(call: Call, query: TokenQuery) -> Page[Token]:
    """List the tokens of your team, or all if you are an operator."""
    found = await tokens.list_tokens(call.context, call.principal, team=query.team)
    return part_of(found, query, Token, lambda token: token.id)


@operation("GET", "/tokens/{token}", tag=TAG, scope=None, errors={403})
async def get_token(call: Call, path: TokenPath) -> Token:
    """Get a token; your own needs no scope, another the scope `read`."""
    return Token.model_validate(await tokens.get_token(call.context, call.principal, path.token))


@operation("POST", "/tokens", tag=TAG, scope=Scope.ADMIN, status=201, idempotent=True, errors={404})
async def create_token(call: Call, body: TokenOrder) -> TokenWithText:
    """Make a token, and show its text once."""
    made = await tokens.create_token(
        call.context,
        call.principal,
        body.label,
        team=body.team,
        scopes=body.scopes,
        lifetime=body.lifetime,
        why=body.why or "",
    )
    return _with_text(made)


@operation("POST", "/tokens/{token}/rotate", tag=TAG, scope=Scope.ADMIN, idempotent=True)
async def rotate_token(call: Call, path: TokenPath, body: TokenRotation) -> TokenWithText:
    """Give a token a new text and a new end; the former text is accepted a while longer."""
    made = await tokens.rotate_token(
        call.context,
        call.principal,
        path.token,
        overlap=body.overlap,
        lifetime=body.lifetime,
        why=body.why or "",
    )
    return _with_text(made)


@operation("POST", "/tokens/{token}/revoke", tag=TAG, scope=None, errors={403})
async def revoke_token(call: Call, path: TokenPath, body: Reason) -> Token:
    """Revoke a token: its next request is refused. Your own needs no scope, another the scope `admin`."""
    return Token.model_validate(await tokens.revoke_token(call.context, call.principal, path.token, body.why))


def _with_text(made: NewToken) -> TokenWithText:
    return TokenWithText(
        token=Token.model_validate(made.token),
        text=made.text,
        former_until=optional_moment(made.former_until_ms),
    )


OPERATIONS = (list_tokens, get_token, create_token, rotate_token, revoke_token)
