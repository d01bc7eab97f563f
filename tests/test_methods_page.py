"""docs/methods.md holds every section that the code refers to."""

import re

from tests.conftest import ROOT

REFERENCE = re.compile(r"methods\.md(?:\s|#)*§(\d+)")
HEADING = re.compile(r"^## §(\d+) ", re.MULTILINE)


def test_every_reference_finds_its_section() -> None:
    headings = HEADING.findall((ROOT / "docs/methods.md").read_text())
    assert headings == sorted(set(headings), key=int)
    code = [p for folder in ("trajlab", "callbacks", "analysis", "tests") for p in (ROOT / folder).rglob("*.py")]
    wanted = {(section, p.name) for p in code for section in REFERENCE.findall(p.read_text())}
    assert len({name for _, name in wanted}) > 15  # the references are found at all
    assert {(s, name) for s, name in wanted if s not in headings} == set()


def test_no_reference_leaves_its_section_open() -> None:
    code = [p for folder in ("trajlab", "callbacks", "analysis") for p in (ROOT / folder).rglob("*.py")]
    bare = [
        p.name for p in code if len(re.findall(r"methods\.md", p.read_text())) != len(REFERENCE.findall(p.read_text()))
    ]
    assert bare == []
