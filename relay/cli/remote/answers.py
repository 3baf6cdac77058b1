"""Answers of the API as what the services return, so that a command prints both in one way."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from relay.core.delivery.outcome import Outcome
from relay.core.event import Freshness
from relay.services.deliveries.shadow_comparison import Difference, Side
from relay.services.deliveries.shadow_report import Missing, ShadowReport, Speed
from relay.services.deliveries.stored_subscriptions.sending import SentTest
from relay.services.deliveries.subscription_states import State, SubscriptionState
from relay.services.topics.history.neighbours import Neighbour, Neighbours
from relay.services.topics.history.pull import PullPart, PullState
from relay.services.topics.history.push import DeadPart, PushPart, PushState
from relay.services.topics.history.story import EventStory, Receipt, TopicPart
from relay.services.topics.history.view import Body, EventView, Place
from relay.services.topics.life.steps import Facts, Has, Step
from relay.services.topics.life.summary import Life
from relay.store.lanes.attempts.log import FoundAttempt
from relay.store.lanes.attempts.record import AttemptRecord
from relay.store.lanes.dead_letters import DeadLetter
from relay.store.topics.record import Proof, Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    Json = Mapping[str, Any]


def ms_of(text: str | None) -> int | None:
    """Return a time of the API in Unix milliseconds."""
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)


def _at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def record_of(event: Json) -> Record:
    """Return the record of an event of a topic's stream."""
    return Record(
        entry=event["entry"],
        id=event["id"],
        type=event["type"],
        line=event["line"],
        chat=event["chat"],
        at=_at(event["at"]),
        version=event["version"],
        body=event["body"].encode(),
        webhook_id=event["webhook_id"],
        message=event["message"],
        direction=event["direction"],
        service=event["service"],
        is_group=event["is_group"],
        created=event["created"],
        trace=event["trace"],
        freshness=Freshness(event["freshness"]),
        account=event.get("account"),
        source=event.get("source"),
    )


def event_of(event: Json) -> EventView:
    """Return an event of a search or a story."""
    return EventView(
        id=event["id"],
        type=event["type"],
        version=event["version"],
        line=event["line"],
        chat=event["chat"],
        message=event["message"],
        direction=event["direction"],
        service=event["service"],
        is_group=event["is_group"],
        freshness=Freshness(event["freshness"]),
        account=event.get("account"),
        created=event["created"],
        trace=event["trace"],
        webhook_id=event["webhook_id"],
        at_ms=ms_of(event["at"]) or 0,
        body=Body(event["bytes"], event["body"]),
        places=tuple(Place(place["topic"], place["entry"]) for place in event["places"]),
        source=event.get("source"),
    )


def event_of_topic(event: Json, topic: str) -> EventView:
    """Return an event of a topic's stream."""
    bodiless = {name: value for name, value in event.items() if name not in {"entry", "body"}}
    size = len(event["body"].encode())
    places = [{"topic": topic, "entry": event["entry"]}]
    return event_of({**bodiless, "bytes": size, "body": event["body"], "places": places})


def attempt_of(attempt: Json) -> FoundAttempt:
    """Return an attempt."""
    record = AttemptRecord(
        topic=attempt["topic"],
        entry=attempt["entry"],
        event_id=attempt["event"],
        type=attempt["type"],
        line=attempt["line"],
        chat=attempt["chat"],
        message=attempt["message"],
        trace=attempt["trace"],
        number=attempt["number"],
        is_probe=attempt["is_probe"],
        is_replay=attempt["is_replay"] or attempt["is_test"],
        at_ms=_at(attempt["at"]),
        took_ms=attempt["took_ms"],
        outcome=Outcome(attempt["outcome"]),
        status=attempt["status"],
        due_ms=ms_of(attempt["next"]),
        dead=attempt["dead"],
        shape=attempt.get("shape"),  # a relay of an older release does not tell it
    )
    return FoundAttempt(attempt["subscription"], record, attempt["counted"], attempt["detail"])


def letter_of(letter: Json) -> DeadLetter:
    """Return a dead letter, without the body of its event."""
    record = Record(
        entry=letter["id"],
        id=letter["event"],
        type=letter["type"],
        line=letter["line"],
        chat=letter["chat"],
        at=_at(letter["accepted"]),
        version="",
        body=b"",
        webhook_id="",
    )
    return DeadLetter(
        subscription=letter["subscription"],
        topic=letter["topic"],
        record=record,
        at=_at(letter["at"]),
        reason=letter["reason"],
        tries=letter["tries"],
        first_at=_at(letter["first_at"]),
        status=letter["status"],
        detail=letter["detail"],
    )


def state_of(state: Json) -> SubscriptionState:
    """Return the state of a subscription."""
    return SubscriptionState(
        name=state["name"],
        topic=state["topic"],
        team=state["team"],
        state=State(state["state"]),
        waiting=state["waiting"],
        retrying=state["retrying"],
        dead=state["dead"],
        discarded=state["discarded"],
        last_success_ms=ms_of(state["last_success"]),
        since_ms=ms_of(state["since"]),
        next_probe_ms=ms_of(state["next_probe"]),
        why=state["why"],
        delivered=state["delivered"],
        is_exact=state["is_exact"],
        shadow_of=state["shadow_of"],
    )


def shadow_report_of(report: Json) -> ShadowReport:
    """Return a shadow compared with its original."""
    found = {name: value for name, value in report.items() if name not in {"since", "agreement"}}
    differences = tuple(
        Difference(
            event=each["event"],
            type=each["type"],
            at_ms=_at(each["at"]),
            differs=tuple(each["differs"]),
            original=_side(each["original"]),
            shadow=_side(each["shadow"]),
        )
        for each in report["differences"]
    )
    missing = tuple(
        Missing(each["event"], each["type"], _at(each["at"]), each["missing_in"], each["why"])
        for each in report["missing"]
    )
    return ShadowReport(
        **{
            **found,
            "since_ms": ms_of(report["since"]),
            "original_speed": Speed(**report["original_speed"]),
            "shadow_speed": Speed(**report["shadow_speed"]),
            "differences": differences,
            "missing": missing,
        }
    )


def _side(side: Json) -> Side:
    given = {**side, "outcome": Outcome(side["outcome"]), "at_ms": _at(side["at"])}
    return Side(**{name: given[name] for name in Side._fields})


def sent_of(sent: Json) -> SentTest:
    """Return a test event that was sent."""
    return SentTest(sent["subscription"], sent["event"], sent["type"], sent["line"], sent["waits_for"])


def story_of(story: Json) -> EventStory:
    """Return a story."""
    receipt, chat = story["receipt"], story["chat"]
    return EventStory(
        event=event_of(story["event"]),
        is_held=story["is_held"],
        receipt=Receipt(
            at_ms=_at(receipt["at"]),
            address=receipt["address"],
            url=receipt["url"],
            secret=receipt["secret"],
            proof=None if receipt["proof"] is None else Proof(receipt["proof"]),
            repeats=receipt["repeats"],
            last_repeat_ms=ms_of(receipt["last_repeat"]),
        ),
        topics=tuple(
            TopicPart(part["topic"], part["entry"], ms_of(part["routed"]), tuple(part["why_not"]))
            for part in story["topics"]
        ),
        push=tuple(map(_push_part, story["push"])),
        push_after=story["push_after"],
        pull=tuple(PullPart(**{**part, "state": PullState(part["state"])}) for part in story["pull"]),
        chat=Neighbours(_neighbour(chat["previous"]), _neighbour(chat["next"]), chat["searched_all"]),
        notes=tuple(story["notes"]),
    )


def _push_part(part: Json) -> PushPart:
    dead = part["dead"]
    return PushPart(
        subscription=part["subscription"],
        topic=part["topic"],
        state=PushState(part["state"]),
        attempts=tuple(map(attempt_of, part["attempts"])),
        due_ms=ms_of(part["next"]),
        dead=None if dead is None else DeadPart(dead["id"], _at(dead["at"]), dead["reason"]),
        replays=part["replays"],
        replayed=part["replayed"],
        notes=tuple(part["notes"]),
    )


def _neighbour(found: Json | None) -> Neighbour | None:
    return None if found is None else Neighbour(found["id"], found["type"], _at(found["at"]))


def life_of(life: Json) -> Life:
    """Return a part of the life of a message."""
    facts = Facts(
        line=life["line"],
        chat=life["chat"],
        direction=life["direction"],
        service=life["service"],
        is_group=life["is_group"],
        reply_to=life["reply_to"],
        trace=life["trace"],
        sent_ms=ms_of(life["sent"]),
        delivered_ms=ms_of(life["delivered"]),
        read_ms=ms_of(life["read"]),
    )
    return Life(
        message=life["message"],
        steps=tuple(map(_step, life["steps"])),
        facts=facts,
        untaken=tuple(life["untaken"]),
        cursor=life["cursor"],
        searched_to_ms=ms_of(life["searched_to"]),
    )


def _step(step: Json) -> Step:
    return Step(
        kind=step["kind"],
        event=step["event"],
        type=step["type"],
        at_ms=_at(step["at"]),
        routed_ms=_at(step["routed"]),
        by=step["by"],
        detail=step["detail"],
        reply=step["reply"],
        is_history=step["is_history"],
        places=tuple(Place(place["topic"], place["entry"]) for place in step["places"]),
        has=None if step["has"] is None else tuple(Has(**each) for each in step["has"]),
    )
