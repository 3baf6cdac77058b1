"""The secret with which `relay listen` signs: stable for each team, made from the relay's key, stored nowhere.

A team that is made with the name of a former one has another secret.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict
from relay.core.secret import PREFIX, SigningSecret
from relay.services.account.teams import begin_of_team

if TYPE_CHECKING:
    from relay.core.access.principal import Principal
    from relay.services.context import Context

_PURPOSE = "relay listen"


async def listen_secret(context: Context, principal: Principal) -> SigningSecret:
    """Return the secret of the principal's team, or the one of all operators.

    Raises:
        Forbidden: the principal may not read.
        Conflict: the relay has no key here.
    """
    principal.require(Scope.READ)
    key = context.settings.relay_secret_key
    if key is None:
        raise Conflict("RELAY_SECRET_KEY is not set where the admin listener runs; set it there, as for the ingress")
    begin = await begin_of_team(context, principal.team) if principal.team else 0
    purpose = f"{_PURPOSE}\n{principal.team or ''}" + (f"\n{begin}" if begin else "")
    digest = hmac.digest(key.get_secret_value().encode(), purpose.encode(), "sha256")
    return SigningSecret(PREFIX + base64.b64encode(digest).decode())
