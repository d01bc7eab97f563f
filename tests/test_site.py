"""The site's pages: all in the navigation, all links lead somewhere. `make docs` builds it strictly, which takes longer."""

import re
from pathlib import Path

import pytest
import yaml

from docs.site_pages import fenced
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")


def navigated(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    children = nav.values() if isinstance(nav, dict) else nav
    assert not isinstance(children, int | None)
    return [page for child in children for page in navigated(child)]  # type: ignore[union-attr]


def test_every_page_is_in_the_navigation_once() -> None:
    nav = navigated(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    notebooks = [f"notebooks/{p.stem}.md" for p in (ROOT / "notebooks").glob("*.ipynb")]
    assert sorted(nav) == sorted([*(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md")), *notebooks])


def anchors(page: Path) -> set[str]:
    """What MkDocs and GitHub call the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower()) for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for target in (a or b for a, b in LINK.findall(text)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), target


def test_examples_become_code() -> None:
    told = "Adds.\n\n>>> 1 + 1\n2\n>>> 2 + 2\n4\n\nMore."
    assert fenced(told) == "Adds.\n\n\n```pycon\n>>> 1 + 1\n2\n>>> 2 + 2\n4\n```\n\nMore."
