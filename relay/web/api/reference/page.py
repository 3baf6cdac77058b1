"""The readable page of the API, rendered from its document: no script, and nothing from elsewhere."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs, web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from pydantic_core import from_json, to_json

from relay.web.api.openapi import document_text
from relay.web.api.problems import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.web.api.operation import Operation

_FILES = Path(__file__).parent
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_CODE = re.compile(r"`([^`]+)`")
_MODELS = "#/components/schemas/"


def add_reference(app: web.Application, operations: tuple[Operation, ...]) -> None:
    """Add the page and its style sheet to the application of the API."""
    style = (_FILES / "docs.css").read_bytes()

    async def page(_: web.Request) -> web.Response:
        headers = {hdrs.CONTENT_SECURITY_POLICY: _POLICY, "Referrer-Policy": "no-referrer"}
        return web.Response(text=page_text(operations), content_type="text/html", headers=headers)

    async def css(_: web.Request) -> web.Response:
        return web.Response(body=style, content_type="text/css")

    app.router.add_get("/docs", page)
    app.router.add_get("/docs.css", css)


@cache
def page_text(operations: tuple[Operation, ...]) -> str:
    """Return the page of `operations`."""
    document = from_json(document_text(operations))
    environment = Environment(
        loader=FileSystemLoader(_FILES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"form": form_of, "prose": _prose}
    return environment.get_template("docs.html").render(
        info=document["info"],
        groups=_groups(document),
        models=dict(sorted(document["components"]["schemas"].items())),
        kinds=KINDS,
        content_of=_content_of,
        problem_of=_problem_of,
    )


def _prose(text: str) -> Markup:
    """Return a text with what is between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  it is escaped


def form_of(schema: dict[str, Any]) -> str:
    """Return the form of a value in words, such as `list of Topic`."""
    match schema:
        case {"$ref": str(reference)}:
            form = reference.removeprefix(_MODELS)
        case {"anyOf": options}:
            form = " or ".join(dict.fromkeys(map(form_of, options)))
        case {"enum": values}:
            form = ", ".join(f'"{value}"' for value in values)
        case {"const": value}:
            form = f'"{value}"'
        case {"type": "array", "items": item}:
            form = f"list of {form_of(item)}"
        case {"type": "object", "additionalProperties": dict(item)}:
            form = f"object of {form_of(item)}"
        case {"format": "date-time"}:
            form = "time"
        case _:
            form = str(schema.get("type", "any value")) + "".join(_bounds(schema))
    return form


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    if "minimum" in schema:
        yield f", from {schema['minimum']:g}"
    if "maximum" in schema:
        yield f", to {schema['maximum']:g}"
    if "examples" in schema:
        yield f', such as "{schema["examples"][0]}"'
    if schema.get("default") not in (None, [], ""):
        yield f"; {to_json(schema['default']).decode()} if left out"


def _groups(document: dict[str, Any]) -> list[tuple[dict[str, str], list[tuple[str, str, dict[str, Any]]]]]:
    """Return the tags, each with method, path and description of its operations."""
    return [
        (
            tag,
            [
                (method.upper(), path, documented)
                for path, methods in document["paths"].items()
                for method, documented in methods.items()
                if documented["tags"] == [tag["name"]]
            ],
        )
        for tag in document["tags"]
    ]


def _content_of(part: dict[str, Any]) -> tuple[str, str] | None:
    """Return media type and form of a body; None if it has none."""
    for media_type, content in part.get("content", {}).items():
        return media_type, form_of(content["schema"])
    return None


def _problem_of(response: dict[str, Any]) -> bool:
    """Return True if a response is one of the problems."""
    return "$ref" in response
