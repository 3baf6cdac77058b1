"""environment.md: the variables of `Settings`, with their defaults and docstrings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.cli.reference.markdown import generated_from, table
from relay.config.settings import Settings
from relay.core.durations import format_duration

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_INTRODUCTION = """\
# Environment

Variables are read once, at the start, from the environment and below it from `.env` in the working directory. An empty
variable counts as unset. Everything that is missing or wrong is reported at once, by name, with exit code 2. Variables
that relay.toml refers to (`env:SUPPORT_BOT_SECRET`) may be in `.env` as well.

"""


def environment_page() -> str:
    """Return the text of environment.md."""
    fields = Settings.model_fields.items()
    rows = [(f"`{name.upper()}`", _default(name, field), field.description or "") for name, field in fields]
    return (
        generated_from("Settings in relay/config/settings.py")
        + _INTRODUCTION
        + table(("variable", "default", ""), rows)
    )


def _default(name: str, field: FieldInfo) -> str:
    if field.default is None:
        return ""
    return f"`{format_duration(field.default) if name.endswith('_window') else field.default}`"
