"""The pages of the bench: links between them lead somewhere, and the extract of the results has rows of the results."""

from __future__ import annotations

import pytest

from tests.docs.pages import ROOT, Page

BENCH = ROOT / "tests" / "bench"
OVERVIEW = Page(BENCH / "README.md")
PAGES = [Page(path) for path in sorted(BENCH.glob("*.md"))]


@pytest.mark.parametrize("each", PAGES, ids=lambda each: each.path.stem)
def test_links_lead_somewhere(each: Page) -> None:
    for link in each.links():
        target, _, anchor = link.partition("#")
        path = (BENCH / target).resolve() if target else each.path
        assert path.exists(), link
        assert not anchor or anchor in Page(path).anchors(), link


def test_overview_leads_to_every_page() -> None:
    assert {page.path.name for page in PAGES} - {"README.md"} <= set(OVERVIEW.links())


def test_extract_has_rows_of_the_results() -> None:
    results = Page(BENCH / "results.md").rows("What the bench measured")
    extract = OVERVIEW.rows("Results")
    assert extract
    assert [row for row in extract if row not in results] == []
