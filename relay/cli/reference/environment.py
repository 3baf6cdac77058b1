"""environment.md: the variables of `Settings`, with their defaults and docstrings."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from relay.cli.reference.markdown import generated_from, table
from relay.cli.reference.value_forms import annotation_of, form_of
from relay.config.attribute_docstrings import attribute_docstrings
from relay.config.page_settings import PageSettings, PageUser
from relay.config.settings import Settings, classes_in
from relay.config.telemetry_settings import TelemetrySettings
from relay.core.durations import format_duration
from relay.net.listen_address import Listen

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_FORMS = {
    Listen: "HOST:PORT",
    Path: "path",
    SecretStr: "secret",
    IPv4Network: "networks",
    PageUser: "`PATTERN=ROLE`, ...",
}
_INTRODUCTION = """\
# Environment

Variables are read once, at the start, from the environment and below it from `.env` in the working directory. An empty
variable counts as unset. Everything that is missing or wrong is reported at once, by name, with exit code 2. Variables
that relay.toml refers to (`env:SUPPORT_BOT_SECRET`) can be in `.env` as well.

A variable whose value is marked with `_FILE` can come from a file: `RELAY_SECRET_KEY_FILE=/run/secrets/relay_key` is
the path of a file whose content, without its final newline, is the value of `RELAY_SECRET_KEY`. Only one of the two may
be set. A file that is missing, empty or unreadable ends the command with exit code 2; one that every user may replace
is warned of.

Every role serves `/live`, `/ready` and `/metrics` at `RELAY_ADMIN_LISTEN`; `relay admin` and `relay up` serve [the
page](page.md) and [the API](api.md) there, too. The public listener of the ingress has `/live`
and `/ready`, in single words.

"""


def environment_page() -> str:
    """Return the text of environment.md."""
    bases = (TelemetrySettings, PageSettings)  # each has the variables of those before it
    fields = sorted(Settings.model_fields.items(), key=lambda item: sum(item[0] in base.model_fields for base in bases))
    texts = attribute_docstrings(Settings)
    rows = [(f"`{name.upper()}`", _value(name, field), _default(name, field), texts[name]) for name, field in fields]
    head = generated_from("Settings in relay/config/settings.py") + _INTRODUCTION
    return head + table(("variable", "value", "default", ""), rows)


def _value(name: str, field: FieldInfo) -> str:
    """Return the form of a value; quotes are for relay.toml."""
    if _is_duration(name):
        return "duration"
    classes = list(classes_in(field.annotation))
    named = (form for cls, form in _FORMS.items() if cls in classes)
    form = next(named, None) or form_of(annotation_of(field)).replace('"', "")
    return f"{form}, `_FILE`" if name in Settings.secrets() else form


def _default(name: str, field: FieldInfo) -> str:
    if field.default in {None, ()}:
        return ""
    if _is_duration(name):
        return f"`{format_duration(field.default) if field.default else '0s'}`"
    return f"`{field.default}`"


def _is_duration(name: str) -> bool:
    return name.endswith(("_window", "_timeout", "_delay"))
