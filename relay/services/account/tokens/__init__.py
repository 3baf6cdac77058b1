"""Tokens: their bearers, and making, showing, rotating and revoking them."""

from relay.services.account.tokens.bearers import authenticate, principal_of, redeem_sign_in_code, sign_in_code
from relay.services.account.tokens.manage import (
    DEFAULT_LIFETIME,
    DEFAULT_OVERLAP,
    create_token,
    get_token,
    list_tokens,
    revoke_token,
    rotate_token,
)
from relay.services.account.tokens.state import NewToken, TokenState

__all__ = [
    "DEFAULT_LIFETIME",
    "DEFAULT_OVERLAP",
    "NewToken",
    "TokenState",
    "authenticate",
    "create_token",
    "get_token",
    "list_tokens",
    "principal_of",
    "redeem_sign_in_code",
    "revoke_token",
    "rotate_token",
    "sign_in_code",
]
