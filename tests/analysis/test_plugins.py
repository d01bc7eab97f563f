"""Sections and claims of an installed package: there without a change here, and never the end of a report."""

import textwrap
import warnings
from pathlib import Path

import pandas as pd
import pytest

from tests.analysis.simulated import budget_runs
from trajlab.analysis.claims import check, studies
from trajlab.analysis.load import Runs
from trajlab.analysis.report import sections, write_report
from trajlab.analysis.report.sections import claims

CODE = """
import pandas as pd
from trajlab.analysis.claims import ClaimSet, design
from trajlab.analysis.report import Section

def counted(runs):
    part = Section("Counted from outside")
    part.text(f"{len(runs.manifests)} manifests")
    return part

def nothing(runs):
    return None

def failing(runs):
    return 1 / 0

def table(runs):
    return pd.DataFrame([design("seeds", 3, len(runs.manifests)).row()])

WALKS = ClaimSet(study="walks", source="A paper of ours", table=table)
AGAIN = ClaimSet(study="budget", source="A second paper on budgets", table=failing)
"""
RUNS = Runs({}, [{"experiment": "any", "run": f"seed={s}", "seed": s, "study": "walks"} for s in range(3)])


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a package with these entry points, as far as Python's own metadata goes."""

    def installed(entries: str) -> None:
        info = tmp_path / "outside_analysis-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-analysis\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(entries))
        (tmp_path / "outside_analysis.py").write_text(CODE)
        monkeypatch.syspath_prepend(tmp_path)

    return installed


def test_a_section_from_outside_stands_last(install, tmp_path: Path) -> None:
    install("""
        [trajlab.sections]
        counted = outside_analysis:counted
        quiet = outside_analysis:nothing
        """)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = write_report(RUNS, tmp_path / "report", "Report")
    assert "## Counted from outside\n\n3 manifests" in page.with_suffix(".md").read_text()
    assert sections(budget_runs(seeds=1, intervals=3))[-1].title == "Counted from outside"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            "gone = outside_analysis:gone",
            "gone = outside_analysis:gone .* of package outside-analysis .*AttributeError",
        ),
        ("gone = not_there_at_all:section", "ModuleNotFoundError"),
        ("text = outside_analysis:CODE.__doc__", "is left out"),
        ("failing = outside_analysis:failing", "section failing .*ZeroDivisionError"),
        ("odd = outside_analysis:table", "section odd .*gave a DataFrame"),
    ],
)
def test_a_broken_section_is_one_warning(install, entry: str, words: str) -> None:
    install(f"[trajlab.sections]\n{entry}\n")
    with pytest.warns(UserWarning, match=words) as caught:
        assert sections(RUNS) == []
    assert len(caught) == 1


def test_claims_from_outside_are_checked_where_a_manifest_names_their_study(install) -> None:
    install("[trajlab.claims]\nwalks = outside_analysis:WALKS\n")
    assert "walks" in studies()
    assert check(RUNS, "walks")["verdict"].tolist() == ["supported"]
    part = claims.section(RUNS)
    assert part is not None
    (block,) = part.blocks
    assert isinstance(block.frame, pd.DataFrame)
    assert "any against A paper of ours" in block.words


def test_broken_claims_leave_the_others_alone(install) -> None:
    install("""
        [trajlab.claims]
        again = outside_analysis:AGAIN
        budget = outside_analysis:WALKS
        function = outside_analysis:table
        """)
    with pytest.warns(UserWarning, match="entry point") as caught:
        part = claims.section(budget_runs(seeds=1))
    assert part is not None
    assert [b.kind for b in part.blocks] == ["table", "text"]
    assert "claims again [trajlab.claims] of an installed package fail: ZeroDivisionError" in part.blocks[1].words
    reasons = {str(w.message).split(" = ")[0]: str(w.message) for w in caught}
    assert len(caught) == 2
    assert "its name is taken" in reasons["entry point budget"]
    assert "is a function, not a ClaimSet" in reasons["entry point function"]
