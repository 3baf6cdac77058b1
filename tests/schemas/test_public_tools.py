"""Public tools accept the committed documents, and make the committed types, which fit a body of every event."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.pages import page
from tests.schemas.samples import samples
from tests.schemas.tools import SCHEMAS, generate, node_modules_or_skip, run_go, run_script, run_tsc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.background,
    pytest.mark.timeout(600),
    pytest.mark.needs_tool("node"),
    pytest.mark.needs_tool("npm"),
]

DECODER = """package main

import (
	"bufio"
	"encoding/json"
	"os"

	"linqrelay/schemas/v2"
	"linqrelay/schemas/v20250101"
	"linqrelay/schemas/v20260203"
)

func main() {
	makers := map[string]func(string) any{"2026-02-03": v20260203.New, "2025-01-01": v20250101.New, "v2": v2.New}
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Version, Type string
			Body          json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			panic(err)
		}
		event := makers[line.Version](line.Type)
		if err := json.Unmarshal(line.Body, event); err != nil {
			panic(line.Type + ": " + err.Error())
		}
		out.Encode(event)
	}
}
"""


def lost(sent: Any, got: Any, place: str = "") -> Iterator[str]:
    """Yield the values of `sent` that are not in `got`; of a time, only that there is one."""
    if isinstance(sent, dict) and isinstance(got, dict):
        for name, value in sent.items():
            yield from lost(value, got.get(name), f"{place}.{name}")
    elif isinstance(sent, list) and isinstance(got, list) and len(sent) == len(got):
        for position, pair in enumerate(zip(sent, got, strict=True)):
            yield from lost(*pair, f"{place}[{position}]")
    elif sent != got and not (got and re.match(r"\d{4}-\d\d-\d\dT", str(sent))):
        yield f"{place}: {sent!r} became {got!r}"


def test_documents_are_valid() -> None:
    lines = [json.dumps({"schema": sample.path, "instance": sample.body}) for sample in samples()]
    said = json.loads(run_script("validate.mjs", str(SCHEMAS), modules=node_modules_or_skip(), text="\n".join(lines)))
    assert said["wrong"] == []
    assert said["samples"] == len(lines)
    assert said["schemas"] == len([*SCHEMAS.glob("events/**/*.json"), *SCHEMAS.glob("*.json")]) - 2
    assert dict(said["channels"])["deadLetters"] == 1


@pytest.mark.needs_tool("go")
@pytest.mark.needs_tool("gofmt")
def test_committed_types_are_what_the_generators_make(tmp_path: Path) -> None:
    generate(tmp_path, node_modules_or_skip())
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert len(made) == 9
    stale = [str(path) for path, text in made.items() if (SCHEMAS / path).read_text() != text]
    assert not stale, "run: python -m tests.schemas"


def test_typescript_types_fit_a_body_of_every_event(tmp_path: Path) -> None:
    shutil.copytree(SCHEMAS / "typescript", tmp_path / "types")
    index = json.loads((SCHEMAS / "index.json").read_bytes())["events"]
    modules = {"2026-02-03": "v20260203", "2025-01-01": "v20250101", "v2": "v2"}
    bodies = [
        f"export const b{number}: {modules[each.version]}.{index[each.version][each.type]['name']} = "
        f"{json.dumps(each.body)};"
        for number, each in enumerate(samples())
    ]
    narrowed = """
export function text(event: Events["2026-02-03"]): string | undefined {
  if (event.event_type !== "message.received") return undefined;
  const [part] = event.data.parts;
  return part?.type === "text" ? part.value : undefined;
}
// @ts-expect-error  a name that no event has
export const misspelt = (event: v20260203.MessageReceived) => event.data.sender_handel;
"""
    imports = 'import type { Events, v2, v20250101, v20260203 } from "./types/index.js";\n'
    (tmp_path / "bodies.ts").write_text(imports + "\n".join(bodies) + narrowed)
    [of_the_page] = page("schemas.md").blocks("ts")
    (tmp_path / "page.ts").write_text(of_the_page.replace("linq-relay-schemas", "./types/index.js"))
    run_tsc("bodies.ts", "page.ts", directory=tmp_path, modules=node_modules_or_skip())


@pytest.mark.needs_tool("go")
def test_go_structs_hold_a_body_of_every_event(tmp_path: Path) -> None:
    shutil.copytree(SCHEMAS / "go", tmp_path / "go")
    (tmp_path / "go" / "decoder").mkdir()
    (tmp_path / "go" / "decoder" / "main.go").write_text(DECODER)
    [of_the_page] = page("schemas.md").blocks("go")
    (tmp_path / "go" / "team").mkdir()
    (tmp_path / "go" / "team" / "team.go").write_text(of_the_page)
    run_go("vet", "./...", directory=tmp_path / "go")
    sent = list(samples())
    lines = [json.dumps({"version": each.version, "type": each.type, "body": each.body}) for each in sent]
    said = run_go("run", "./decoder", directory=tmp_path / "go", text="\n".join(lines)).splitlines()
    found = [json.loads(line) for line in said]
    assert [
        f"{each.version} {each.type} {what}"
        for each, got in zip(sent, found, strict=True)
        for what in lost(each.body, got)
    ] == []
