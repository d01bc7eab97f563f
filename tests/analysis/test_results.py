"""Published studies: tables as they were, pages that say what the tables say."""

import json
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from tests.analysis.test_load import write_run
from tests.conftest import MICRO, ROOT, run_here
from trajlab.analysis.__main__ import main
from trajlab.analysis.load import load_runs
from trajlab.analysis.report.in_short import by_verdict
from trajlab.analysis.results import PAGE, RUNS, Description, _rounded, page, publish, studies

TOLD = 'title = "Two seeds"\nquestion = "Does it fall?"\ncommands = ["python -m trajlab name=x"]\ndiffers = ["All of it."]\n'


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "two_seeds"
    folder.mkdir(parents=True)
    (folder / "study.toml").write_text(TOLD)
    return folder


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    for run in ("seed=0", "seed=1"):
        write_run(tmp_path / "stored", "a", run)
    return tmp_path / "stored"


def test_published_tables_are_those_of_the_runs(stored: Path, study: Path) -> None:
    size = publish(stored, study)
    assert size == sum(p.stat().st_size for p in (study / RUNS).rglob("*.parquet"))
    assert len(list((study / RUNS).rglob("*.parquet"))) == 2  # one per run, of two parts each
    pd.testing.assert_frame_equal(load_runs(study / RUNS).intervals, load_runs(stored).intervals)


def test_what_lay_where_is_not_published(stored: Path, study: Path) -> None:
    path = stored / "a" / "seed=0" / "manifest.json"
    here = {"runs_dir": "/home/someone/runs", "data": {"source": "~/texts/mine", "stride": 4}, "model": ["a/b"]}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"config": here}))
    publish(stored, study)
    told = json.loads((study / RUNS / "a" / "seed=0" / "manifest.json").read_text())
    assert told["config"] == {"runs_dir": "runs", "data": {"source": "mine", "stride": 4}, "model": ["a/b"]}


def test_published_again_the_former_tables_are_replaced(stored: Path, study: Path) -> None:
    publish(stored, study)
    write_run(stored, "a", "seed=2")
    publish(stored, study)
    assert len(load_runs(study / RUNS).manifests) == 3
    assert sorted(p.name for p in study.iterdir()) == ["runs", "study.toml"]


def test_runs_that_finish_elsewhere_are_added(stored: Path, study: Path, tmp_path: Path) -> None:
    publish(stored, study, leave_out=("steps",))
    for run, loss in (("seed=1", 9.0), ("seed=2", 2.0)):
        write_run(tmp_path / "later", "a", run, loss=loss)
    size = publish(tmp_path / "later", study, add=True, leave_out=("steps",), decimals={"intervals.loss": 2})
    assert size == sum(p.stat().st_size for p in (study / RUNS).rglob("*.parquet"))
    first = load_runs(study / RUNS).intervals.groupby("run")["loss"].first()
    assert first.index.tolist() == ["seed=0", "seed=1", "seed=2"]
    assert first["seed=1"] == 9.0  # of the same name: the new one
    told = (study / RUNS / "published.txt").read_text().splitlines()[1:]
    assert told == ["Left out: steps.", "Rounded: intervals.loss to 2 decimals."]
    with pytest.raises(ValueError, match="over 0.0001 MB"):
        publish(tmp_path / "later", study, add=True, limit_bytes=100)
    assert len(load_runs(study / RUNS).manifests) == 3


def test_a_rounded_column_is_told_of(stored: Path, study: Path) -> None:
    write_run(stored, "a", "seed=2", loss=1.23456)
    publish(stored, study, decimals={"intervals.loss": 2})
    assert 1.23 in load_runs(study / RUNS).intervals["loss"].tolist()
    assert "Rounded: intervals.loss to 2 decimals." in page(study, load_runs(study / RUNS))


def test_a_column_of_lists_is_rounded_too() -> None:
    held = pa.chunked_array([[[1.26, 2.0], []], [None, [3.14]]])
    assert _rounded(held, 1).to_pylist() == [[1.3, 2.0], [], None, [3.1]]
    sliced = pa.chunked_array([held.combine_chunks().slice(1)])
    assert _rounded(sliced, 1).to_pylist() == [[], None, [3.1]]


def test_runs_that_publish_did_not_write_are_never_replaced(stored: Path, study: Path) -> None:
    write_run(study / RUNS, "mine", "seed=0")
    with pytest.raises(ValueError, match="was not made by publish"):
        publish(stored, study)
    assert len(load_runs(study / RUNS).manifests) == 1


def test_an_unfinished_run_and_too_large_a_table_are_refused(stored: Path, study: Path) -> None:
    publish(stored, study)
    with pytest.raises(ValueError, match=r"intervals .* MB; leave some out"):
        publish(stored, study, limit_bytes=100)
    write_run(stored, "a", "seed=2", status="running")
    with pytest.raises(ValueError, match="seed=2 isn't finished"):
        publish(stored, study)
    assert len(load_runs(study / RUNS).manifests) == 2  # what was there before
    assert publish(stored / "a" / "seed=0", study, leave_out=("intervals",)) == 0


def test_a_page_calls_the_text_by_its_name(stored: Path, study: Path) -> None:
    publish(stored, study)
    assert "TinyStories" not in page(study, load_runs(study / RUNS))
    (study / "study.toml").write_text(TOLD + 'corpus = "TinyStories"\n')
    assert "TinyStories [" in page(study, load_runs(study / RUNS))
    (study / "study.toml").write_text(TOLD + "corpus = 3\n")
    with pytest.raises(ValueError, match="corpus must be a text, not 3"):
        page(study, load_runs(study / RUNS))


def test_claims_are_counted_by_verdict() -> None:
    texts = ["lawa5 is faster: tokens saved", "ema is faster: tokens saved", "seeds", "rise"]
    claims = pd.DataFrame({"claim": texts, "verdict": ["supported", "supported", "supported", "undecided"]})
    assert by_verdict(claims) == ["Supported, 3 of 4: is faster (lawa5, ema); seeds.", "Undecided, 1 of 4: rise."]


@pytest.mark.parametrize("key", ["title", "question", "commands", "differs"])
def test_a_description_without_a_key_is_refused_by_its_name(key: str, study: Path) -> None:
    lines = [line for line in TOLD.splitlines() if not line.startswith(key)]
    (study / "study.toml").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=f"study.toml: {key} must be"):
        Description.read(study / "study.toml")


def test_pages_are_made_from_the_command_line(tmp_path: Path, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_here(*MICRO, f"runs_dir={tmp_path / 'runs'}")
    main(["publish", str(tmp_path / "runs"), str(study)])
    main(["results", str(study.parent)])
    assert str(study / PAGE) in capsys.readouterr().out
    text = (study / PAGE).read_text()
    assert "# Two seeds" in text
    assert "## The published claims: tinystories_budget_small" in text
    assert "core hours" in text
    assert "<html" in (study / "report.html").read_text()
    first, *_ = text.partition("## What was run")
    assert "## The answer\n\nValidation loss was " in first
    assert "Not testable, " in first
    assert "](main.svg)" in first
    assert (study / "main.svg").read_text().startswith("<?xml")


PUBLISHED = studies(ROOT / "results")


@pytest.mark.parametrize("study", PUBLISHED, ids=[p.name for p in PUBLISHED])
def test_every_number_of_a_published_page_is_in_its_tables(study: Path) -> None:
    assert (study / PAGE).read_text() == page(study, load_runs(study / RUNS))


def test_every_number_of_the_readme_is_on_the_page_that_it_names() -> None:
    rows = re.findall(r"^\| \[.+?\]\((results/.+?)\) \| (.+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {ROOT / place for place, _ in rows} == {study / PAGE for study in PUBLISHED}
    for place, words in rows:
        numbers = re.findall(r"\d+(?:\.\d+)?", words)
        assert all(n in (ROOT / place).read_text() for n in numbers), (place, numbers)


@pytest.mark.parametrize("study", PUBLISHED, ids=[p.name for p in PUBLISHED])
def test_published_studies_stay_small_and_speak_of_no_machine(study: Path) -> None:
    assert sum(p.stat().st_size for p in study.rglob("*.parquet")) < 5_000_000
    for manifest in (study / RUNS).rglob("manifest.json"):
        assert '"/' not in manifest.read_text()
        assert json.loads(manifest.read_text())["status"] == "finished"
