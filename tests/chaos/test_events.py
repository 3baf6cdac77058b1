from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from struct import pack

from relay.core.config.relay_toml import parse_config
from relay.core.event import Dialect
from relay.core.sharding.placement import shard_of
from relay.linq.payloads.shard_key import shard_key_in
from relay.store.wakeups import partition_of
from tests.chaos.events import LINES, body_of, event_id, line_of, number_of, shard_of_event, type_of
from tests.chaos.teams import STRICT, TEAMS, TOPICS, hosts_of, rules, topic_wants

CLOCKS = Path(__file__).parent / "clock"


def test_event_number_round_trip() -> None:
    for number in (0, 7, 123_456):
        envelope = json.loads(body_of(number))
        assert (envelope["event_id"], envelope["event_type"]) == (event_id(number), type_of(number))
        assert number_of(envelope["event_id"]) == number
    assert number_of("other-1") is None
    assert number_of("chaos-x") is None


def test_reserialised_body_differs() -> None:
    body = body_of(3)
    assert json.dumps(json.loads(body)).encode() != body
    assert json.dumps(json.loads(body), ensure_ascii=False).encode() != body


def test_shard_of_an_event_is_that_of_the_relay() -> None:
    shards = [shard_of_event(number, 4) for number in range(200)]
    assert shards == [shard_of(shard_key_in(Dialect.V3, body_of(number)), 4) for number in range(200)]
    assert set(shards) == set(range(4))


def test_relay_toml_matches_the_teams() -> None:
    config = parse_config(rules(4000, hosts_of(0)))
    assert {topic.name for topic in config.topics} == set(TOPICS)
    for team, subscription in zip(TEAMS, config.subscriptions, strict=True):
        topic = next(topic for topic in config.topics if topic.name == team.topic)
        assert topic.lines is not None
        for number in range(len(LINES)):
            line = LINES[line_of(number)]
            assert topic_wants(team.topic, number) == (line in topic.lines)
            assert team.wants(number) == (line in topic.lines and line in (subscription.lines or LINES))


def test_strict_and_good_team_share_a_worker() -> None:
    assert partition_of(STRICT) == partition_of(TEAMS[0].name)


def test_clock_of_a_process_can_be_stepped(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_bytes(pack("d", 3600.0))
    output = subprocess.run(
        [sys.executable, "-P", "-c", "import time; print(time.time())"],
        env={"PYTHONPATH": str(CLOCKS), "CHAOS_CLOCK": str(clock)},
        check=True,
        capture_output=True,
        timeout=20,
    ).stdout
    assert 3590 < float(output) - time.time() < 3610
