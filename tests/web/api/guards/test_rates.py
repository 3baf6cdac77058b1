from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.web.api.guards.rates import OF_TEAM, Rates
from relay.web.api.problems import ApiProblem

if TYPE_CHECKING:
    from tests.support import Clock


def bearer(token: str, team: str | None = "crm") -> Principal:
    return Principal(token, team, EVERY_SCOPE, token=token)


def test_tokens_of_a_team_share_a_rate(clock: Clock) -> None:
    rates = Rates(2, clock)
    for number in range(2 * OF_TEAM):
        rates.take(bearer(f"t{number}"))
    with pytest.raises(ApiProblem, match=f"the tokens of a team may send {2 * OF_TEAM} requests"):
        rates.take(bearer("another"))
    rates.take(bearer("theirs", "other"))
    rates.take(bearer("operator", None))
    clock.now += 1
    rates.take(bearer("another"))
