"""What the chart has from elsewhere: the table of its README from values.yaml, alerts and board from deploy/monitoring.

    python -m tests.deploy.chart_files

writes them anew; a test fails while they differ.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from tests.deploy.helm import CHART, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COPIES = ("rules.yaml", "dashboard.json")
_BEGIN, _END = "<!-- values: python -m tests.deploy.chart_files -->\n", "<!-- end of values -->\n"
_MARK = "# -- "
_WIDEST_DEFAULT = 60


def values_of_chart() -> list[tuple[str, str, str]]:
    """Return key, default and description of each value, in the order of values.yaml.

    A value is a key with a description: a comment above it that begins with `--`. The keys in it are its default.
    """
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    return list(_described(yaml.compose(text), text.splitlines(), ""))


def _described(node: yaml.Node | None, lines: list[str], prefix: str) -> Iterator[tuple[str, str, str]]:
    assert isinstance(node, yaml.MappingNode)
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        description = _comment_above(lines, key.start_mark.line)
        if description is not None:
            yield path, _default(yaml.SafeLoader("").construct_document(value)), description
        elif isinstance(value, yaml.MappingNode):
            yield from _described(value, lines, f"{path}.")
        else:
            raise ValueError(f"values.yaml:{key.start_mark.line + 1}: {path} has no description")


def _comment_above(lines: list[str], line: int) -> str | None:
    """Return the description that ends above a line."""
    words: list[str] = []
    for above in reversed(lines[:line]):
        text = above.strip()
        if text.startswith(_MARK):
            return " ".join([text.removeprefix(_MARK), *words])
        if not text.startswith("# "):
            return None
        words.insert(0, text.removeprefix("# "))
    return None


def _default(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return "see values.yaml" if len(text) > _WIDEST_DEFAULT else f"`{text}`"


def readme() -> str:
    """Return the README of the chart with its table of values."""
    text = (CHART / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    rows = [f"| `{key}` | {default} | {text.replace('|', '&#124;')} |" for key, default, text in values_of_chart()]
    table = "\n".join(["| value | default |  |", "| --- | --- | --- |", *rows])
    return f"{before}{_BEGIN}\n{table}\n\n{_END}{after}"


def copies() -> dict[Path, str]:
    """Return the files that the chart has copies of, as they are now, by the path of the copy."""
    originals = ROOT / "deploy" / "monitoring"
    found = (path for path in originals.glob("*") if path.name in COPIES)
    return {CHART / "files" / path.name: path.read_text(encoding="utf-8") for path in found}


if __name__ == "__main__":
    (CHART / "README.md").write_text(readme(), encoding="utf-8")
    for copy, text in copies().items():
        copy.write_text(text, encoding="utf-8")
