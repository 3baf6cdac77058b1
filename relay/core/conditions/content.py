"""The interface to an event's body: facts that only some conditions ask for, and that are read when they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from relay.core.event import Event

OptOut = Literal["stop", "start"]


class Content(Protocol):
    """Facts of an event that are read from its body on demand."""

    @property
    def sender(self) -> str | None:
        """The handle of who caused the event, as it is compared; None if the body names no sender."""

    @property
    def has_media(self) -> bool | None:
        """True if the message has a file; None if the event has no message."""

    @property
    def opt_out(self) -> OptOut | None:
        """The wish of a customer whose whole text is a keyword such as STOP or START."""

    @property
    def body(self) -> Any:
        """The parsed body; None if it is no JSON."""


class Facts(Protocol):
    """The reader of bodies that the router gives to the topics."""

    def read(self, event: Event, body: bytes) -> Content:
        """Return the content of an event; costs nothing until it is asked."""

    def undecided(self, topic: str, event: Event, reason: str) -> None:
        """Tell that an expression had no result: the event does not match the topic."""
