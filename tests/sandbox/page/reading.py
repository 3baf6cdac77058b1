"""Pages of the sandbox as a program reads them: text, tags and forms."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sandbox.running import RunningSandbox

VOID = {"meta", "link", "input", "br"}


@dataclass
class Form:
    """A form, with what it would send as it is."""

    values: dict[str, str] = field(default_factory=dict)
    text: str = ""


class Outline(HTMLParser):
    """Tags, forms and text of a page; asserts that every tag is closed and that nothing is inline."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.forms: list[Form] = []
        self.text = ""
        self.errors: dict[str, str] = {}
        self._error = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert "style" not in given
        assert tag != "style"
        assert tag != "script" or given["src"].startswith("/sandbox/static/")
        assert not [name for name in given if name.startswith(("on", "hx-on", "hx-vals"))]
        if "id" in given:
            assert given["id"] not in self.ids
            self.ids.append(given["id"])
        if tag == "form":
            self.forms.append(Form())
        if tag in {"input", "select", "textarea"} and "name" in given:
            self.forms[-1].values[given["name"]] = given.get("value", "")
        self._error = given["id"] if given.get("class") == "problem" else ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.text += "\n"

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._error:
            self.errors[self._error.removesuffix("-error")] = data
            self._error = ""
        if "form" in self.open:
            self.forms[-1].text += data

    def form(self, action: str, **values: str) -> dict[str, str]:
        """Return the values of the form of an action (and of a row, with the `values` that it has), to be filled in."""
        wanted = {"action": action, **values}
        (found,) = [form.values for form in self.forms if wanted.items() <= form.values.items()]
        return dict(found)


def read(html: str) -> Outline:
    outline = Outline()
    outline.feed(html)
    assert outline.open == []
    return outline


async def get_page(sandbox: RunningSandbox, query: str = "") -> Outline:
    async with sandbox.http.get(f"{sandbox.url}/sandbox{query}") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        return read(await response.text())


async def submit(sandbox: RunningSandbox, values: dict[str, str], status: int = 200) -> Outline:
    """Submit a form as a browser does."""
    async with sandbox.http.post(f"{sandbox.url}/sandbox", data=values, headers={"Origin": sandbox.url}) as response:
        assert response.status == status
        return read(await response.text())
