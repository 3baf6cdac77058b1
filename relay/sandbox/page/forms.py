"""Forms of the page: one for each action of the control API, with the fields of its request.

A submitted form has the same effect as the request, and its result shows both: what happened, and the `curl` line that
does the same.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from pydantic import ValidationError
from pydantic_core import to_json

from relay.core.config.checks.mistakes import JSON, message_of
from relay.sandbox.actions import NewLine
from relay.sandbox.api.v3_errors import ApiError
from relay.sandbox.events.emit import Emissions
from relay.sandbox.faults.models import ApiFault, DeliveryFault, Disable, Fault
from relay.sandbox.page.fields import fields_of, values_of
from relay.sandbox.payloads import known_types
from relay.sandbox.payloads.v2 import v2_types

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel

    from relay.sandbox.actions import Actions
    from relay.sandbox.page.fields import Field
    from relay.sandbox.state import SandboxState

_MAX_DETAIL = 2_000  # characters of a result
_FIRST = {"emit": ("type", "line", "text", "customer", "count")}
"""Fields of the form that are always open."""
_COMMON = {*DeliveryFault.model_fields, *ApiFault.model_fields} - {"path", "method"}
"""Fields of any fault, for which there are good defaults."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form with fields."""

    action: str
    title: str
    about: str
    fields: list[Field]
    """Fields that are always open."""
    more: list[Field]
    """Fields that open on request."""
    submit: str


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an action, shown where its form is."""

    action: str
    place: str
    """The part of the page that shows it: the form of the action, or `tables` above the live part."""
    status: int
    message: str
    detail: str = ""
    curl: str = ""
    event_id: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    """The submitted texts, to be corrected."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Errors of single fields."""

    @property
    def is_error(self) -> bool:
        """True if nothing was done."""
        return self.status >= 400


FAULTS: dict[str, type[BaseModel]] = {
    f"fault-{model.model_fields['kind'].default}": model for model in (*get_args(Fault), Disable)
}
_WITH_FILTER = FAULTS.keys() - {"fault-disable"}
_MODELS: dict[str, type[BaseModel]] = {"emit": Emissions, "line-add": NewLine, **FAULTS}


def form_of(action: str, state: SandboxState) -> Form:
    """Return the form of an action that has fields."""
    model = _MODELS[action]
    ids = [*state.subscriptions, *map(str, state.v2_subscriptions)]
    choices = {} if model is NewLine else {"line": state.lines, "subscription_id": ids or [""]}
    fields = fields_of(model, choices)
    if first := _FIRST.get(action):
        opened = sorted((each for each in fields if each.name in first), key=lambda each: first.index(each.name))
    else:
        opened = [each for each in fields if action not in _WITH_FILTER or each.name not in _COMMON]
    title, _, about = (model.__doc__ or "").partition(":")
    texts = {"emit": ("Send an event", "", "Send"), "line-add": ("Add a line", "", "Add")}
    title, about, submit = texts.get(action, (title, about.strip().capitalize(), "Add"))
    more = [each for each in fields if each not in opened]
    return Form(action, title, about, opened, more, "Disable" if model is Disable else submit)


def event_types() -> list[str]:
    """Return the event types of both APIs that have a built-in payload."""
    return sorted({*known_types(), *v2_types()})


class _Done(NamedTuple):
    """An action that was carried out."""

    message: str
    response: dict[str, Any]
    curl: str


class _InvalidFields(Exception):
    """Fields that cannot be used, each with its error."""

    def __init__(self, message: str, errors: Mapping[str, str]) -> None:
        super().__init__(message)
        self.message = message
        self.errors = errors


class Submissions:
    """Submitted forms."""

    def __init__(self, state: SandboxState, actions: Actions) -> None:
        self._state = state
        self._actions = actions

    def submit(self, action: str, form: Mapping[str, str], url: str) -> Result:
        """Carry out an action; `url` is that of the sandbox, for the `curl` line."""
        model = _MODELS.get(action)
        place = action if model and "in_table" not in form else "tables"
        try:
            done = self._with_fields(model, form, url) if model else self._without_fields(action, form, url)
        except _InvalidFields as error:
            return Result(action, place, 400, error.message, values=form, errors=error.errors)
        except ApiError as error:
            name, _, reason = error.message.partition(": ")
            errors = {name: reason} if reason and name in form else {}
            return Result(action, place, error.status, error.message, values=form, errors=errors)
        detail = to_json(done.response, indent=2).decode() if done.response else ""
        shown = detail if len(detail) <= _MAX_DETAIL else f"{detail[:_MAX_DETAIL]}\n…"
        values = form if action == "emit" else {}  # the next message is often like the last
        return Result(action, place, 200, done.message, shown, done.curl, done.response.get("event_id", ""), values)

    def _with_fields(self, model: type[BaseModel], form: Mapping[str, str], url: str) -> _Done:
        values, errors = values_of(fields_of(model), form)
        try:
            request: Any = model.model_validate(values)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                errors.setdefault(str(each["loc"][0]) if each["loc"] else "", message_of(each, JSON))
        if errors:
            raise _InvalidFields(errors.pop("", "") or "Correct the marked fields.", errors)
        sent = request.model_dump(mode="json", exclude_defaults=True)
        if model is Emissions:
            done = self._actions.emit(request)
            message = f"Sent {_counted(request.count, 'event')} to {_counted(done['subscriptions'], 'subscription')}."
            return _Done(message, done, _curl(url, "emit", sent))
        if model is NewLine:
            done = self._actions.add_line(request.line)
            return _Done(f"Added {request.line}.", done, _curl(url, "lines", sent))
        done = self._actions.add_fault(request)
        curl = _curl(url, "faults", {"kind": request.kind, **sent})
        if model is Disable:
            return _Done(f"Disabled {_counted(len(done['disabled']), 'subscription')}.", done, curl)
        return _Done(f"Fault {done['id']} is active.", done, curl)

    def _without_fields(self, action: str, form: Mapping[str, str], url: str) -> _Done:
        act = self._actions
        simple: dict[str, tuple[Callable[[], Any], str, str]] = {
            "line-remove": (
                lambda: act.remove_line(form.get("line", "")),
                f"Removed {form.get('line')}.",
                f"-X DELETE {url}/sandbox/lines/{form.get('line')}",
            ),
            "fault-remove": (
                lambda: act.clear_fault(_number(form.get("id"))),
                f"Removed fault {form.get('id')}; the events that it delayed are sent.",
                f"-X DELETE {url}/sandbox/faults/{form.get('id')}",
            ),
            "faults-remove": (
                act.clear_faults,
                "Removed all faults; the events that they delayed are sent.",
                f"-X DELETE {url}/sandbox/faults",
            ),
            "foreign": (
                act.add_foreign_subscription,
                "Created a subscription of another account: every call for it gets 403.",
                f"-X POST {url}/sandbox/foreign-subscription",
            ),
            "deliveries-forget": (
                act.forget_deliveries,
                "Deleted the list of deliveries; those in flight continue.",
                f"-X DELETE {url}/sandbox/deliveries",
            ),
        }
        if action not in simple:
            raise ApiError(400, 1005, f"action: {action or 'missing'} is not a form of this page")
        run, message, curl = simple[action]
        return _Done(message, run() or {}, f"curl {curl}")


def _curl(url: str, path: str, sent: Mapping[str, Any]) -> str:
    return f"curl -d {shlex.quote(to_json(sent).decode())} {url}/sandbox/{path}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) <= 9 else 0
