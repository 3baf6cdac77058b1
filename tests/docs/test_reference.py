"""The generated pages: equal to what `relay docs` writes, and complete."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import jsonschema
import pytest
import typer
import typer.main
from pydantic import BaseModel, Field
from schemathesis.specs.openapi.definitions import OPENAPI_31

from relay.cli.reference import reference_files, reference_pages
from relay.cli.reference.commands import commands_page, runs_by_itself, visible_commands
from relay.cli.reference.value_forms import annotation_of, default_of, form_of
from relay.config.attribute_docstrings import attribute_docstrings
from relay.config.settings import Settings
from relay.core.config.fields import Duration, Line, Size, Table
from relay.core.config.relay_toml import RelayConfig
from tests.cli.running import invoke
from tests.docs.pages import DOCS, ROOT, ROOT_COMMAND, page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def tables_of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield `model` and every model in its fields."""
    yield model
    for field in model.model_fields.values():
        pending = [field.annotation]
        while pending:
            annotation: Any = pending.pop()
            pending += getattr(annotation, "__args__", ())
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                yield from tables_of(annotation)


def test_committed_pages_equal_the_output_of_relay_docs() -> None:
    done = invoke("docs", str(DOCS), "--check")
    assert done.code == 0, done.err


def test_relay_docs_writes_what_is_missing_and_check_reports_it(tmp_path: Path) -> None:
    assert invoke("docs", str(tmp_path / "pages"), "--check").code == 1
    assert not list(tmp_path.iterdir())
    assert invoke("docs", str(tmp_path / "pages")).code == 0
    assert {path.name for path in (tmp_path / "pages").iterdir()} == set(reference_files(ROOT_COMMAND))
    (tmp_path / "pages" / "commands.md").write_text("old")
    stale = invoke("docs", str(tmp_path / "pages"), "--check")
    assert stale.code == 1
    assert "commands.md is out of date" in stale.err


DURATIONS = {
    "relay_dedupe_window": "6h",
    "relay_gap_window": "72h",
    "relay_idle_timeout": "10.5m",
    "relay_shutdown_delay": "0s",
}


def test_every_variable_is_listed_with_its_default() -> None:
    listed = {row[0].strip("`"): row[2].strip("`") for row in page("environment.md").rows("Environment")}
    defaults = {}
    for name, field in Settings.model_fields.items():
        default = "" if field.default in {None, ()} else str(field.default)
        defaults[name.upper()] = DURATIONS.get(name, default)
    assert listed == defaults


def test_every_variable_has_a_description() -> None:
    assert all(len(row[3]) > 10 for row in page("environment.md").rows("Environment"))


def test_every_command_is_described_with_its_options() -> None:
    text = page("commands.md").text
    described = set(re.findall(r"^## `(relay[^`]*)`$", text, flags=re.MULTILINE))
    found = {path: command for path, command in visible_commands(ROOT_COMMAND) if runs_by_itself(command)}
    assert described == set(found)
    for path, command in found.items():
        section = text.split(f"## `{path}`\n", 1)[1].split("\n## ")[0]
        options = {o for p in command.params for o in p.opts if o.startswith("--") and not getattr(p, "hidden", False)}
        assert options - {"--help"} <= set(re.findall(r"--[a-z][a-z-]*", section)), path


def test_hidden_commands_are_not_listed() -> None:
    assert "`relay docs`](" not in page("commands.md").text
    assert "## `relay docs" not in page("commands.md").text
    assert "--share-port" not in page("commands.md").text


def test_every_key_of_relay_toml_is_listed() -> None:
    listed = {row[0].strip("`") for row in page("configuration.md").all_rows()}
    missing = {
        field.alias or key
        for model in tables_of(RelayConfig)
        if model is not RelayConfig
        for key, field in model.model_fields.items()
    } - listed
    assert not missing


def test_every_table_of_relay_toml_is_listed() -> None:
    text = page("configuration.md").text
    for heading in ("[[topics]]", "[[subscriptions]]", "[[teams]]", "[egress]", "[alerts]", "[linq]", "[linq.v2]"):
        assert f"## `{heading}`" in text


class Sample(Table):
    """A table."""

    needed: str
    lines: Annotated[tuple[Line, ...] | None, Field(min_length=1)] = None
    """Lines."""
    wait: Annotated[Duration, Field(ge=0.5, le=60)] | None = 30.0
    """A wait,
    in two lines.
    """
    waits: tuple[Duration, ...] = (5.0, 60.0)
    room: Size = 2**20
    kind: Literal["a", "b"] = "a"
    share: Annotated[float, Field(gt=0)] = 0.25
    flag: bool = False


@pytest.mark.parametrize(
    ("key", "form", "default"),
    [
        ("lines", "list of phone numbers", ""),
        ("wait", "duration, at least 500ms, at most 1m", '`"30s"`'),
        ("waits", "list of durations", '`["5s", "1m"]`'),
        ("room", "size", '`"1MiB"`'),
        ("kind", '`"a"`, `"b"`', '`"a"`'),
        ("share", "number, more than 0", "`0.25`"),
        ("flag", "boolean", "`false`"),
    ],
)
def test_forms_and_defaults_are_spelt_as_in_toml(key: str, form: str, default: str) -> None:
    field = Sample.model_fields[key]
    assert (form_of(annotation_of(field)), default_of(field)) == (form, default)


def test_attribute_docstrings_are_found_in_the_source() -> None:
    assert attribute_docstrings(Sample) == {"lines": "Lines.", "wait": "A wait,\nin two lines."}


def test_generated_pages_name_their_source() -> None:
    for name, text in reference_pages(ROOT_COMMAND).items():
        source = re.search(r"^<!-- Generated by `relay docs` from .*?(relay/[\w/.]+)", text)
        assert source is not None, name
        assert (ROOT / source[1]).exists(), name


def test_help_text_becomes_paragraphs_and_examples_become_code() -> None:
    app = typer.Typer(add_completion=False)

    @app.command(epilog="Examples:\n  relay play\n  relay play --loud")
    def play(*, loud: Annotated[bool, typer.Option("--loud", help="With | noise.")] = False) -> None:
        """Play it. Twice.

        And then
        stop.
        """

    text = commands_page(typer.main.get_command(app))
    assert "Play it. Twice.\n\nAnd then stop.\n\n" in text
    assert "| `--loud` | With \\| noise. |\n\nExamples:\n\n```sh\nrelay play\nrelay play --loud\n```\n" in text


def test_committed_document_of_the_api_is_valid_openapi() -> None:
    document = json.loads((DOCS / "openapi.json").read_text())
    assert document["openapi"] == "3.1.0"
    jsonschema.Draft202012Validator(OPENAPI_31).validate(document)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert not [name for name in document["components"]["schemas"] if "_" in name]  # two models of one name
