"""Reconciling against a Linq over HTTP (the sandbox, through the official SDK) and a real Redis."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from relay.bootstrap.deletions import Approval
from relay.bootstrap.desired import public_url_of, requested_events
from relay.bootstrap.plan import Action
from relay.config.settings import Settings
from relay.core.config.relay_toml import parse_config
from relay.core.errors import LinqApiError, SettingsError, StoreError
from relay.core.secret import new_key
from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from relay.linq.payloads.event_types import is_of_lines, is_of_the_account
from relay.linq.target_urls import target_url
from relay.store.driver.client import ask
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.keyring import STRAGGLERS, Keyring
from tests.bootstrap.bench import ASKED_FOR, PUBLIC, RULES, SUBSCRIPTIONS, Bench, actions, bench_of
from tests.conftest import NOW
from tests.sandbox.running import LINE, LINES, OTHER_LINE, THIRD_LINE
from tests.support import KEYS, hash_of

if TYPE_CHECKING:
    from tests.support import Clock


# --- Registration --------------------------------------------------------------------------------------


async def test_every_line_gets_a_subscription_with_its_own_url(bench: Bench) -> None:
    await bench.apply()
    made = {
        tuple(subscription.phone_numbers): subscription
        for subscription in bench.sandbox.sandbox.state.subscriptions.values()
    }
    assert set(made) == {(line,) for line in LINES}
    tag = await bench.keyring.owner_tag()
    assert tag is not None
    assert re.fullmatch("[0-9a-f]{8}", tag)
    for line in LINES:
        query = f"version=2026-02-03&line={line.removeprefix('+')}&gen=1&owner={tag}"
        assert made[line,].target_url == f"{PUBLIC}/webhooks/linq?{query}"
        assert set(made[line,].events) == ASKED_FOR
        assert made[line,].is_active


async def test_finished_steps_are_reported(bench: Bench) -> None:
    results = await bench.apply()
    assert actions(results) == [("create", line, 1, True) for line in LINES]
    assert actions(bench.reported) == actions(results)


async def test_planning_has_no_side_effects(bench: Bench) -> None:
    steps = await bench.plan()
    assert [(step.action, step.line) for step in steps] == [(Action.CREATE, line) for line in LINES]
    assert bench.sandbox.changes == []
    assert await bench.redis.keys() == []


async def test_secrets_are_sealed_in_redis(bench: Bench) -> None:
    await bench.apply()
    assert {key.decode() for key in await bench.redis.keys()} == {KEYS.keyring, KEYS.keyring_revision, KEYS.linq_owner}
    stored: Any = await bench.redis.hgetall(KEYS.keyring)  # type: ignore[misc]
    everything = b"".join(part for row in stored.items() for part in row)
    assert b"whsec_" not in everything
    for secret in bench.secrets_at_linq().values():
        assert secret.encode() not in everything
        assert secret.removeprefix("whsec_").encode() not in everything


async def test_stored_secrets_match_those_at_linq(bench: Bench) -> None:
    await bench.apply()
    assert await bench.secrets() == bench.secrets_at_linq()
    records = await bench.keyring.records()
    assert {(record.line, record.generation) for record in records} == {(line, 1) for line in LINES}
    assert {record.stored_at for record in records} == {int(NOW)}


async def test_secrets_open_only_with_their_sealing_key(bench: Bench) -> None:
    await bench.apply()
    record, *_ = await bench.keyring.records()
    with pytest.raises(StoreError, match="another RELAY_SECRET_KEY"):
        Keyring(bench.redis, Cipher(new_key())).open(record)


async def test_applying_is_idempotent(bench: Bench) -> None:
    await bench.apply()
    before, secrets = bench.at_linq(), await bench.secrets()
    bench.sandbox.calls.clear()
    results = await bench.apply()
    assert actions(results) == [("keep", line, 1, True) for line in LINES]
    assert sorted(bench.sandbox.calls) == ["GET /v3/phone_numbers", "GET /v3/webhook-events", f"GET {SUBSCRIPTIONS}"]
    assert (bench.at_linq(), await bench.secrets()) == (before, secrets)


async def test_subscriptions_of_others_are_left_alone(bench: Bench) -> None:
    foreign = await bench.sandbox.subscribe(
        "https://elsewhere.example.com/webhooks/linq?line=16465550123", "call.ended"
    )
    before = await bench.sandbox.client.webhook_subscriptions.retrieve(foreign.id)
    await bench.apply()
    assert await bench.sandbox.client.webhook_subscriptions.retrieve(foreign.id) == before


@pytest.mark.parametrize("broken", ["not JSON", '"sealed":"', "{}"])
async def test_broken_secret_is_replaced_alone(bench: Bench, broken: str) -> None:
    await bench.apply()
    first, *others = await bench.keyring.records()
    row = broken if broken != '"sealed":"' else first.model_copy(update={"sealed": "changed"}).model_dump_json()
    await ask(bench.redis.hset(KEYS.keyring, first.subscription_id, row))
    before = bench.at_linq()
    results = await bench.apply()
    assert actions(results) == sorted(
        [
            ("create", first.line, 2, True),
            ("delete", first.line, 1, True),
            *(("keep", record.line, 1, True) for record in others),
        ],
        key=str,
    )
    assert before.items() - bench.at_linq().items() == {(first.subscription_id, before[first.subscription_id])}
    assert set(await hash_of(bench.redis, KEYS.keyring)) == bench.at_linq().keys()
    assert await bench.secrets() == bench.secrets_at_linq()


# --- Convergence --------------------------------------------------------------------------------------


async def test_topic_change_updates_the_events(bench: Bench, clock: Clock) -> None:
    await bench.apply()
    before, secrets = bench.at_linq(), await bench.secrets()
    other = bench_of(bench.sandbox, bench.redis, clock, '[[topics]]\nname = "all"\nevents = ["*"]\n')
    results = await other.apply()
    assert actions(results) == [("create", None, 1, True), *(("update", line, 1, True) for line in LINES)]
    of_lines, of_the_account = (
        set(filter(is_of_lines, KNOWN_EVENT_TYPES)),
        set(filter(is_of_the_account, KNOWN_EVENT_TYPES)),
    )
    for subscription in bench.sandbox.sandbox.state.subscriptions.values():
        assert set(subscription.events) == (of_lines if subscription.phone_numbers else of_the_account)
    assert of_lines | of_the_account == set(KNOWN_EVENT_TYPES)
    assert before.items() <= bench.at_linq().items()
    assert secrets.items() <= (await bench.secrets()).items()


async def test_change_at_linq_is_reverted(bench: Bench) -> None:
    await bench.apply()
    first, second, third = bench.sandbox.sandbox.state.subscriptions.values()
    first.is_active, second.phone_numbers, third.events = False, [], ["call.ended"]
    results = await bench.apply()
    assert actions(results) == [("update", line, 1, True) for line in LINES]
    assert actions(await bench.apply()) == [("keep", line, 1, True) for line in LINES]


async def test_lost_secret_leads_to_a_new_generation(bench: Bench) -> None:
    await bench.apply()
    (old,) = [subscription_id for subscription_id, url in bench.at_linq().items() if "16465550124" in url]
    await bench.keyring.forget(old)
    bench.sandbox.calls.clear()
    results = await bench.apply()
    assert actions(results) == [
        ("create", OTHER_LINE, 2, True),
        ("delete", OTHER_LINE, 1, True),
        ("keep", LINE, 1, True),
        ("keep", THIRD_LINE, 1, True),
    ]
    assert bench.sandbox.changes == [f"POST {SUBSCRIPTIONS}", f"DELETE {SUBSCRIPTIONS}/{old}"]
    assert await bench.url(OTHER_LINE, 2) in bench.at_linq().values()
    assert await bench.secrets() == bench.secrets_at_linq()


async def test_loss_of_all_secrets_renews_every_line(bench: Bench) -> None:
    await bench.apply()
    await bench.redis.delete(KEYS.keyring)
    await bench.apply()
    assert set(bench.at_linq().values()) == {await bench.url(line, 2) for line in LINES}
    assert await bench.secrets() == bench.secrets_at_linq()


async def test_deleted_subscription_is_created_again(bench: Bench) -> None:
    await bench.apply()
    (lost,) = [subscription_id for subscription_id, url in bench.at_linq().items() if "16465550123" in url]
    await bench.sandbox.client.webhook_subscriptions.delete(lost)
    await bench.apply()
    assert await bench.url(LINE, 2) in bench.at_linq().values()
    assert bench.secrets_at_linq().items() <= (await bench.secrets()).items()
    assert {result.step.action for result in await bench.apply()} == {Action.KEEP}


async def test_secret_of_a_deleted_subscription_expires_later(bench: Bench, clock: Clock) -> None:
    await bench.apply()
    gone, *_ = bench.at_linq()
    await bench.sandbox.client.webhook_subscriptions.delete(gone)
    for later, is_kept in ((0.0, True), (STRAGGLERS, True), (1.0, False)):
        clock.now += later
        await bench.apply()
        assert (gone in await bench.secrets()) is is_kept


async def test_removed_line_loses_subscription_then_secret(bench: Bench, clock: Clock) -> None:
    await bench.apply()
    bench.sandbox.sandbox.state.lines.remove(THIRD_LINE)
    results = await bench.apply(Approval.DELETIONS)
    assert actions(results) == [
        ("delete", THIRD_LINE, 1, True),
        ("keep", LINE, 1, True),
        ("keep", OTHER_LINE, 1, True),
    ]
    assert len(bench.at_linq()) == 2
    clock.now += STRAGGLERS + 1
    await bench.apply()
    assert await bench.secrets() == bench.secrets_at_linq()


async def test_new_line_is_registered_and_others_are_kept(bench: Bench) -> None:
    await bench.apply()
    bench.sandbox.sandbox.state.lines.append("+16465550126")
    results = await bench.apply()
    assert ("create", "+16465550126", 1, True) in actions(results)
    assert len(bench.sandbox.changes) == len(LINES) + 1


async def test_concurrent_deletion_counts_as_deleted(bench: Bench) -> None:
    await bench.apply()
    await bench.keyring.forget(
        next(subscription_id for subscription_id, url in bench.at_linq().items() if "16465550123" in url)
    )
    survey = await bench.reconciler.survey()
    steps = survey.plan(NOW)
    (old,) = [step.subscription_id for step in steps if step.action is Action.DELETE]
    await bench.sandbox.client.webhook_subscriptions.delete(str(old))
    results = await bench.reconciler.carry_out(survey.desired, steps, bench.reported.append)
    assert [result.error for result in results] == [None] * len(steps)


async def test_deleting_a_duplicate_keeps_the_secret_in_use(bench: Bench) -> None:
    await bench.apply()
    before = await bench.secrets()
    twin = await bench.sandbox.subscribe(target_url(PUBLIC, LINE, 1) + "&made=by-hand", lines=[LINE])
    results = await bench.apply()
    assert ("delete", LINE, 1, True) in actions(results)
    assert twin.id not in bench.at_linq()
    assert await bench.secrets() == before


# --- Selected events ----------------------------------------------------------------------------------


def test_topic_patterns_select_offered_event_types() -> None:
    offered = ["message.received", "message.sent", "reaction.added", "reaction.removed", "message.failed", "brand.new"]
    assert requested_events(parse_config(RULES), offered) == ASKED_FOR


def test_star_selects_every_offered_event_type() -> None:
    config = parse_config('[[topics]]\nname = "all"\nevents = ["*"]\n')
    assert requested_events(config, ["message.sent", "brand.new"]) == {"message.sent", "brand.new"}


@pytest.mark.parametrize("rules", ["", '[[topics]]\nname = "x"\nevents = ["brand.new"]\n'])
def test_empty_event_selection_is_an_error(rules: str) -> None:
    with pytest.raises(LinqApiError, match="nothing to subscribe to"):
        requested_events(parse_config(rules), ["message.sent"])


# --- Target URLs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("public", "api"),
    [
        ("https://relay.example.com", "https://api.linqapp.com/api/partner"),
        ("https://relay.example.com/below/", "https://api.linqapp.com/api/partner"),
        ("https://127.0.0.1:8080", "https://api.linqapp.com/api/partner"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:4010/api/partner"),
        ("http://localhost:8080", "http://[::1]:4010/api/partner"),
        ("http://localhost:8080", "http://ingress:4010/api/partner"),
        ("https://relay.example.com", "http://127.0.0.1:4010/api/partner"),
    ],
)
def test_https_or_a_sandbox_beside_the_ingress(monkeypatch: pytest.MonkeyPatch, public: str, api: str) -> None:
    monkeypatch.setenv("RELAY_PUBLIC_URL", public)
    monkeypatch.setenv("LINQ_API_V3_BASE_URL", api)
    assert public_url_of(Settings.load("relay_public_url")) == public.rstrip("/")


def test_loopback_http_is_refused_for_a_remote_linq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_PUBLIC_URL", "http://127.0.0.1:8080")
    with pytest.raises(SettingsError, match=r"RELAY_PUBLIC_URL.*must be https"):
        public_url_of(Settings.load("relay_public_url"))


@pytest.mark.parametrize("api", ["https://api.linqapp.com/api/partner", "http://127.0.0.1:4010/api/partner"])
def test_remote_http_is_always_refused(monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    monkeypatch.setenv("RELAY_PUBLIC_URL", "http://relay.example.com")
    monkeypatch.setenv("LINQ_API_V3_BASE_URL", api)
    with pytest.raises(SettingsError, match=r"RELAY_PUBLIC_URL.*must be https"):
        Settings.load("relay_public_url")
