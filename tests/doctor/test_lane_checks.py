from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from relay.config.file import Loaded
from relay.core.config.egress import Egress
from relay.core.config.endpoint import Endpoint
from relay.core.config.relay_toml import parse_config
from relay.core.delivery.circuit_breaker import OpenBreaker
from relay.doctor.finding import State
from relay.doctor.lane_checks import examine_destinations, examine_lanes
from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.store.lanes.lane import Lane
from relay.store.lanes.suspensions import Suspensions
from tests.building import SECRET
from tests.certificates import Authority, tls_server
from tests.core.writing import subscription_with
from tests.support import reserve_port

if TYPE_CHECKING:
    from pathlib import Path

    from relay.doctor.finding import Finding
    from relay.store.driver.client import Redis

PLAIN = Endpoint((SECRET,))


async def examine_destination(url: str, endpoint: Endpoint = PLAIN, **values: str) -> Finding:
    """Return the finding about one destination."""
    config = parse_config(subscription_with(url=f'"{url}"', **values))
    [finding] = await examine_destinations(Loaded(config, {"s": endpoint}))
    return finding


async def test_destinations_are_connected_to() -> None:
    async with listening(web.Application(), Listen(host="127.0.0.1", port=0)) as port:
        urls = (f"http://127.0.0.1:{port}/in", f"http://127.0.0.1:{reserve_port()}", f"https://127.0.0.1:{port}")
        good, refused, no_tls = [await examine_destination(url) for url in urls]
    assert (good.state, refused.state, no_tls.state) == (State.OK, State.PROBLEM, State.PROBLEM)
    assert "cannot connect to" in refused.what


async def test_suspended_and_orphaned_lanes_are_findings(redis: Redis) -> None:
    config = parse_config(
        subscription_with(name='"paused"')
        + "".join(
            f'\n[[subscriptions]]\nname = "{name}"\ntopic = "t"\nurl = "https://a.b"\nsecret = "env:S"'
            for name in ("down", "fine")
        )
    )
    for name in ("paused", "down", "fine", "former"):
        await Lane(redis, name, "t").ensure()
    await Suspensions(redis).pause("paused", "it answered 410", 1)
    await Suspensions(redis).save_open_breaker("down", OpenBreaker(1, 2, 3, "timed_out: "))
    found = {finding.area.removeprefix("subscription "): finding for finding in await examine_lanes(redis, config)}
    assert {name: finding.state for name, finding in found.items()} == {
        "paused": State.WARNING,
        "down": State.PROBLEM,
        "former": State.WARNING,
    }
    assert found["paused"].remedy == "relay subscriptions resume paused"


async def test_destination_outside_egress_is_not_connected_to() -> None:
    async with listening(web.Application(), Listen(host="127.0.0.1", port=0)) as port:
        url, allowed = f"http://localhost:{port}", Egress(allow=("10.0.0.0/8",))
        finding = await examine_destination(url, Endpoint((SECRET,), egress=allowed))
        assert (await examine_destination(url)).state is State.OK
    assert finding.state is State.PROBLEM
    assert "is not in allow of [egress]" in finding.what
    assert "[egress] in relay.toml" in finding.remedy


async def test_certificate_is_verified_as_for_a_delivery(tmp_path: Path) -> None:
    authority = Authority()
    endpoints = (PLAIN, Endpoint((SECRET,), ca=authority.pem), Endpoint((SECRET,), verify_tls=False))
    async with tls_server(authority, tmp_path) as (url, _):
        unknown, known, unverified = [await examine_destination(url, endpoint) for endpoint in endpoints]
    assert (unknown.state, known.state, unverified.state) == (State.PROBLEM, State.OK, State.WARNING)
    assert "verify_tls = false" in unverified.remedy


REPLYING = """
[[topics]]
name = "a"
events = ["message.*"]

[[topics]]
name = "b"
events = ["message.received"]
direction = "inbound"

[[subscriptions]]
name = "bot"
topic = "a"
url = "https://a.b"
secret = "env:S"
replies = true
lines = ["+16465550123", "+16465550124"]

[[subscriptions]]
name = "agent"
topic = "b"
url = "https://a.b"
secret = "env:S"
replies = true
lines = ["+16465550124"]

[[subscriptions]]
name = "next"
shadow_of = "bot"
url = "https://a.b"
secret = "env:S"
replies = true
"""


async def test_two_that_reply_on_one_line_are_a_finding(redis: Redis) -> None:
    [found] = await examine_lanes(redis, parse_config(REPLYING))
    assert found.state is State.WARNING
    assert "bot and agent both reply on +16465550124" in found.what
    for narrowed in ('direction = "outbound"', 'direction = "inbound"\nservice = "SMS"'):
        other = REPLYING.replace('events = ["message.*"]', 'events = ["message.*"]\nservice = "iMessage"')
        assert await examine_lanes(redis, parse_config(other.replace('direction = "inbound"', narrowed))) == []


async def test_no_state_of_a_shadow_is_a_problem(redis: Redis) -> None:
    await Lane(redis, "next", "a").ensure()
    await Suspensions(redis).save_open_breaker("next", OpenBreaker(1, 2, 3, "timed_out: "))
    config = parse_config(REPLYING.replace("replies = true", ""))
    [found] = await examine_lanes(redis, config)
    assert (found.state, found.what.partition(",")[0]) == (State.OK, "a shadow of bot")
