"""Events: their stories, searches, the live tail of a topic, and sending one again."""

from __future__ import annotations

from relay.services.topics.history.find import NotFoundYet
from relay.services.topics.history.resend import Resent, resend, resend_entry
from relay.services.topics.history.search import EventQuery, FoundEvents, search
from relay.services.topics.history.story import EventStory, story
from relay.services.topics.history.tail import tail

__all__ = [
    "EventQuery",
    "EventStory",
    "FoundEvents",
    "NotFoundYet",
    "Resent",
    "resend",
    "resend_entry",
    "search",
    "story",
    "tail",
]
