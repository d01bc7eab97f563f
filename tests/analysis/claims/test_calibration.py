"""No verdict without a measured error rate: the table of docs/statistics.md, the numbers in the code, and a thin slice."""

import re

import pytest

from tests.conftest import ROOT
from trajlab.analysis.__main__ import main
from trajlab.analysis.claims.calibration import KINDS, calibrate_verdicts
from trajlab.analysis.claims.error_rates import MEASURED

ROW = re.compile(r"^\| ([^|]+?) \| ([^|]+?) \| (\d+) \| ([\d.]*) \| ([\d.]*) \|$", re.MULTILINE)


def published() -> dict[str, list[tuple[str, int, str, str]]]:
    page = (ROOT / "docs/statistics.md").read_text().partition("## How often a verdict is wrong")[2]
    rows: dict[str, list[tuple[str, int, str, str]]] = {}
    for verdict, situation, n, wrong, power in ROW.findall(page):
        rows.setdefault(verdict, []).append((situation, int(n), wrong, power))
    return rows


def test_every_verdict_has_its_rows_in_the_docs() -> None:
    found = published()
    assert set(found) == set(KINDS)
    for name, kind in KINDS.items():
        assert {row[0] for row in found[name]} == {*kind.nulls, kind.effect[0]}, name


def test_every_check_that_a_claim_names_is_calibrated() -> None:
    code = "".join(p.read_text() for p in (ROOT / "analysis/claims").glob("*.py") if p.stem != "calibration")
    named = set(re.findall(r'check="([^"]+)"', code))
    assert len(named) > 8
    assert named | set(KINDS) == set(MEASURED)
    assert named <= {*KINDS, "design"}


def test_the_rates_in_the_code_are_those_of_the_docs() -> None:
    for name, rows in published().items():
        assert pytest.approx(max(float(wrong) for _, _, wrong, _ in rows if wrong) / 100, abs=1e-9) == MEASURED[name], (
            name
        )


@pytest.mark.parametrize("kind", ["equal mean", "paired over seeds", "equal perplexity", "slope on size"])
def test_a_thin_slice_keeps_its_error(kind: str) -> None:
    table = calibrate_verdicts(100, [kind])
    assert table["wrong"].max() <= 0.12  # 6 % and three binomial standard errors
    assert table["power"].max() >= 0.5


def test_the_command_writes_the_table(tmp_path, capsys) -> None:
    main(["calibrate", "--verdicts", "--kinds", "equal mean", "--replicates", "20", "--out", str(tmp_path)])
    assert "mean at the margin" in capsys.readouterr().out
    assert (tmp_path / "verdicts.csv").is_file()


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="unknown kinds of verdict luck"):
        calibrate_verdicts(1, ["luck"])
