"""configuration.md: the keys of relay.toml, from the pydantic models and their attribute docstrings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel

from relay.cli.reference.markdown import generated_from, table
from relay.cli.reference.value_forms import annotation_of, default_of, form_of
from relay.config.attribute_docstrings import attribute_docstrings
from relay.core.config.alerts import AboveAge, AboveCount, AboveShare, Alerts, Quiet, Within
from relay.core.config.egress import Egress
from relay.core.config.endpoint import Auth
from relay.core.config.linq import LinqAccount, LinqConfig, LinqV2
from relay.core.config.relay_toml import AttemptBounds, Subscription
from relay.core.config.teams import Team
from relay.core.config.topics import DeadBounds, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_INTRODUCTION = """\
# relay.toml

Topics and push subscriptions are tables of `relay.toml` (`RELAY_CONFIG` names another file). Ingress and workers reload
the file when it changes; a file with mistakes is refused, each mistake is logged with its line, and the previous
configuration stays in use. `relay check` reports the same mistakes beforehand; `relay explain FILE` shows which topics
a given webhook matches, and why not the others. `relay init` writes a commented file to start from.

| form | examples |
| --- | --- |
| duration | `"500ms"`, `"5s"`, `"10m"`, `"6h"`, `"7d"`; units ms, s, m, h, d |
| size | `"500MB"`, `"2GiB"`: memory of Redis, at least 1 MB |
| phone number | `"+16465550123"` (E.164) |
| event pattern | an event type `"message.received"`, a family `"message.*"`, or `"*"` |
| secret | `"env:SUPPORT_BOT_SECRET"` or `"file:PATH"`, which holds `whsec_` and base64; or a list of up to five |
| text or reference | the text itself, `"env:NAME"` or `"file:PATH"` |
"""


class _Section(NamedTuple):
    title: str
    model: type[BaseModel]
    note: str
    more: tuple[type[BaseModel], ...] = ()
    """Variants of the table, whose further keys are listed too."""


_SECTIONS = (
    _Section(
        "`[[topics]]`",
        Topic,
        """A named stream of the events that match: one of its `events`, one of its `lines` (if it has any), and every
condition that it sets (`direction`, `service` and so on). An event without a value for a condition does not match it,
but `not_sender`. Recipes: [topics.md](topics.md). When a topic discards events: [redis.md](redis.md#retention).""",
    ),
    _Section(
        "`[[subscriptions]]`",
        Subscription,
        """A team that receives a topic by HTTP POST; pull subscriptions need no entry. `events`, `lines`, `freshness`
and `api` narrow the topic, each as in a topic; the rest is counted as `filtered`. What is sent, and what each response
leads to: [deliveries.md](deliveries.md).""",
    ),
    _Section(
        "`auth` of a subscription",
        Auth,
        '`{ bearer = "env:TOKEN" }`, or `{ username = "relay", password = "env:PASSWORD" }`.',
    ),
    _Section(
        "`attempts` of a subscription",
        AttemptBounds,
        """The bounds of what `relay attempts` shows. Half of `size` is for attempts (the default holds some 28,000 of
150 bytes), half for failed responses (some 900 of 4 KiB).""",
    ),
    _Section(
        "`dead` of a subscription, or of a topic",
        DeadBounds,
        """The bounds of what `relay dead list` shows: of a subscription, or of each pull group of a topic. Beyond them
the oldest dead letters are deleted, logged (`dead_letters.discarded`) and counted, those of a subscription in the
ledger.""",
    ),
    _Section(
        "`[[teams]]`",
        Team,
        """A team that helps itself, with tokens for the API and the page: what it sees, and how to make a token for it,
is in [teams.md](teams.md). Teams can also be made without the file (`relay teams create`); a team of the file wins over
one of the same name.""",
    ),
    _Section(
        "`[egress]`",
        Egress,
        """Without this table, events are sent to every `url` of the file, except the destinations that
[are always refused](deliveries.md#where-events-may-go).""",
    ),
    _Section(
        "`[alerts]`",
        Alerts,
        """Only with this table do workers look for problems and send webhooks about them:
[monitoring.md](monitoring.md#without-prometheus). A condition is a table of its limit and of the time for which it must
hold (`for`, a duration); what is left out keeps its default, so `routing_lag = { above = "5m" }` is enough.""",
    ),
    _Section(
        "Conditions of `[alerts]`",
        AboveAge,
        "The defaults are those of the condition, above. `above` is an age, a number or a share.",
        (AboveCount, AboveShare, Within, Quiet),
    ),
    _Section("`[linq]`", LinqConfig, "What bootstrap maintains at Linq, and how workers check it: [linq.md](linq.md)."),
    _Section(
        "`[[linq.accounts]]`",
        LinqAccount,
        "Further accounts at Linq, each with a key of its own: [linq.md](linq.md#several-accounts).",
    ),
    _Section(
        "`[linq.v2]`",
        LinqV2,
        """Only with this table does bootstrap maintain a subscription at
[Linq's older v2 API](linq.md#the-v2-api), with `LINQ_V2_WEBHOOK_SECRET`.""",
    ),
)


def configuration_page() -> str:
    """Return the text of configuration.md."""
    parts = [generated_from("the models in relay/core/config") + _INTRODUCTION]
    for section in _SECTIONS:
        keys = table(("key", "value", "default", ""), _rows(section))
        parts.append(f"## {section.title}\n\n{section.note}\n\n{keys}")
    return "\n".join(parts)


def _rows(section: _Section) -> Iterator[Sequence[str]]:
    """Yield the keys of a table and of its variants, each once."""
    rows = [row for model in (section.model, *section.more) for row in _rows_of(model)]
    if section.more:  # the default depends on the table
        rows = [(key, form, "", text) for key, form, _, text in rows]
    yield from dict.fromkeys(rows)


def _rows_of(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the keys of a table, required ones first."""
    texts = attribute_docstrings(model)
    for key, field in sorted(
        model.model_fields.items(), key=lambda item: (not item[1].is_required(), item[0] != "name")
    ):
        form = form_of(annotation_of(field))
        default = "required" if field.is_required() else default_of(field)
        yield f"`{field.alias or key}`", form, default, field.description or texts.get(key, "")
