"""Generated reference: pages of relay.toml, the environment, commands and metrics, and the document of the API.

relay.toml comes from its pydantic models, the environment from `Settings`, commands from typer, metrics from
`relay.metrics.declared`.
Texts are the attribute docstrings of the models and the help texts of the commands, so a page cannot differ from the
code. `relay docs` writes the pages; a test compares the committed ones with its output.
"""

from __future__ import annotations

from typing import Any

from relay.cli.reference.commands import commands_page
from relay.cli.reference.configuration import configuration_page
from relay.cli.reference.environment import environment_page
from relay.cli.reference.metrics import metrics_page
from relay.web.api.openapi import document_text
from relay.web.api.operations import OPERATIONS


def reference_pages(root: Any) -> dict[str, str]:
    """Return the text of each generated page by its file name; `root` is the command `relay`."""
    return {
        "configuration.md": configuration_page(),
        "environment.md": environment_page(),
        "commands.md": commands_page(root),
        "metrics.md": metrics_page(),
    }


def reference_files(root: Any) -> dict[str, str]:
    """Return the text of each generated file by its name: the pages, and the OpenAPI document."""
    return {**reference_pages(root), "openapi.json": document_text(OPERATIONS)}
