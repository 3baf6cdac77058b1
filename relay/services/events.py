"""Events: their stories, searches, the live tail of a topic, and sending one again."""

from __future__ import annotations

from relay.services.history.find import NotFoundYet
from relay.services.history.search import EventQuery, FoundEvents, search
from relay.services.history.story import EventStory, story

__all__ = ["EventQuery", "EventStory", "FoundEvents", "NotFoundYet", "search", "story"]
