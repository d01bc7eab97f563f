"""Answers in odd cases, and runs whose tables are broken: a sentence that is right, or a box, and never the end of the report."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.analysis.simulated import budget_runs
from tests.benchmarks.many_runs import timed_report, write_runs
from trajlab.analysis.conditions import conditions
from trajlab.analysis.load import Runs, load_runs
from trajlab.analysis.report import contents, write_report
from trajlab.analysis.report.answers import short_names
from trajlab.analysis.report.comparison import comparisons
from trajlab.analysis.report.sections import curves
from trajlab.analysis.report.summary import averages_sentence, common_curves, sentences, series_sentences, tiles


def frame(loss_SK: list[list[float]]) -> pd.DataFrame:
    """One condition: losses by seed and interval, 100 tokens each."""
    rows = [
        {"run": f"seed={s}", "seed": s, "interval": t, "tokens": 100 * t, "loss": loss}
        for s, curve in enumerate(loss_SK)
        for t, loss in enumerate(curve)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("loss_SK", "words"),
    [
        ([[5, 4, 3], [5, 4, 3.1]], "lowest at the end, 3.05 at 200 tokens: there is no turn"),
        ([[3, 4, 5], [3, 4, 5.1]], "never below its first value, 3.00; it ended at 5.05"),
        ([[3, 3, 3], [3, 3, 3]], "did not change: 3.00"),
        ([[5, 2, 3]], "lowest, 2.00, at 100 tokens and ended at 3.00; 50 % of the budget came after"),
    ],
)
def test_the_first_sentence_is_right_wherever_the_minimum_lies(loss_SK: list[list[float]], words: str) -> None:
    found = common_curves(frame(loss_SK))
    assert found is not None
    assert words in sentences(found)[0]
    assert len(tiles(found)) == 5


@pytest.mark.parametrize(
    ("loss_SK", "words"),
    [
        ([[5, 2, 3]], "There is one seed"),
        ([[5, 2, 3], [5, 2, 3.2]], "Both seeds ended higher"),
        ([[5, 2, 3], [5, 2.4, 2.3], [5, 2, 3]], "Two of three seeds ended higher"),
        ([[5, 4, 3], [5, 4, 3]], "The two seeds agree: none ended higher"),
    ],
)
def test_the_second_sentence_counts_seeds(loss_SK: list[list[float]], words: str) -> None:
    found = common_curves(frame(loss_SK))
    assert found is not None
    assert words in sentences(found)[1]


def test_what_the_best_average_came_to_is_said() -> None:
    rows = pd.concat([frame([[5, 3], [5, 3.1]]).assign(variant=v, loss=lambda f, d=d: f["loss"] - d) for v, d in (("raw", 0), ("ema", -0.1), ("lawa", 0.2))])  # fmt: skip
    assert averages_sentence(rows).startswith("Of two weight averages lawa ended lowest, 2.85: 0.200 nats below")
    longer = pd.concat([rows, rows.assign(interval=rows["interval"] + 2, tokens=rows["tokens"] + 2)])
    assert averages_sentence(longer).startswith("After the first tenth of the run lawa lay 0.200 nats below")
    worse = longer.assign(loss=longer["loss"] + (longer["variant"] != "raw"))
    assert averages_sentence(worse).startswith("After the first tenth of the run no weight average was lower")
    assert averages_sentence(rows[rows["variant"] == "raw"]) == ""


def test_a_series_says_who_is_best_and_where_the_last_checkpoint_is_not() -> None:
    one = pd.DataFrame({"model": ["a"] * 3 + ["b"] * 3, "tokens": [1, 2, 3] * 2, "ppl": [90, 50, 60, 80, 40, 20]})
    who, rose = series_sentences(one)
    assert who == "Of two models b ended with the lowest perplexity, 20.0, at 3 tokens."
    assert rose == "In one of two the last checkpoint is not the best: that of a is 20 % above its lowest."


def test_names_beside_curves_are_short_and_told_apart() -> None:
    assert short_names(["optimizer.lr=0.1", "optimizer.lr=0.2"]) == ["lr=0.1", "lr=0.2"]
    assert short_names(["a.lr=1", "b.lr=1"]) == ["a.lr=1", "b.lr=1"]
    assert all(len(n) <= 22 for n in short_names(["model.name=" + "x" * 60, "model.name=y"]))


def sweep(rates: int, seeds: int) -> Runs:
    frames, manifests = [], []
    for place in range(rates):
        one = budget_runs(seeds=seeds, intervals=6, seed=place)
        names = {m["run"]: f"{m['run']},optimizer.lr={0.001 * (place + 1):g}" for m in one.manifests}
        rows = one.intervals.assign(run=one.intervals["run"].map(names))
        frames.append(rows.assign(loss=rows["loss"] + 0.4 * place * (rows["interval"] > 0)))
        manifests += [{**m, "run": names[m["run"]], "status": "finished"} for m in one.manifests]
    return Runs({"intervals": pd.concat(frames, ignore_index=True)}, manifests)


def test_many_conditions_are_summed_up_in_one_sentence() -> None:
    (found,) = comparisons(list(conditions(sweep(rates=6, seeds=6))))
    (said,) = found.sentences
    assert said.startswith("Of six conditions optimizer.lr=0.001 ended lowest, ")
    assert "better than all others by bands that hold" in said
    assert len(found.each) == len(found.pairs) == 5
    assert (found.pairs["p"] <= 1).all()


def test_of_two_equal_conditions_none_is_lower() -> None:
    runs = sweep(rates=2, seeds=3)
    first = runs.intervals["run"].str.endswith("0.001")
    rows = runs.intervals[first]
    other = rows.assign(run=rows["run"].str.replace("0.001", "0.002"))
    (found,) = comparisons(list(conditions(Runs({"intervals": pd.concat([rows, other])}, runs.manifests))))
    assert "ended alike" in found.sentences[0]
    assert "lower" not in found.sentences[0]


def test_conditions_of_one_seed_are_compared_without_a_claim() -> None:
    (found,) = comparisons(list(conditions(sweep(rates=2, seeds=1))))
    assert "nothing says how sure that is" in found.sentences[0]
    assert found.pairs["verdict"].tolist() == ["one seed"]


def no_columns(runs: Runs) -> Runs:
    return Runs({"intervals": runs.intervals.drop(columns=["ppl", "window_nll"])}, runs.manifests)


def only_nan(runs: Runs) -> Runs:
    return Runs({"intervals": runs.intervals.assign(loss=np.nan)}, runs.manifests)


def words_for_numbers(runs: Runs) -> Runs:
    return Runs({"intervals": runs.intervals.assign(tokens="many", train_loss="low")}, runs.manifests)


def one_interval(runs: Runs) -> Runs:
    return Runs({k: f[f.get("interval", pd.Series(0, f.index)) == 0] for k, f in runs.tables.items()}, runs.manifests)


def empty_tables(runs: Runs) -> Runs:
    return Runs({k: f.iloc[:0] for k, f in runs.tables.items()}, runs.manifests)


def other_tokens(runs: Runs) -> Runs:
    rows = runs.intervals
    return Runs({"intervals": rows.assign(tokens=rows["tokens"] + 7 * rows["seed"] * rows["interval"])}, runs.manifests)


@pytest.mark.parametrize("broken", [no_columns, only_nan, words_for_numbers, one_interval, empty_tables, other_tokens])
def test_a_broken_table_never_ends_the_report(
    tmp_path: Path, broken: Callable[[Runs], Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "CONTENTS", (curves.section,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page = write_report(broken(budget_runs(seeds=2, intervals=4)), tmp_path, "Broken")
    assert "</html>" in page.read_text()


def test_a_strange_manifest_is_named_and_left_out(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", rates=1, seeds=2, intervals=3, steps_each=2)
    file = next((tmp_path / "runs").rglob("manifest.json"))
    file.write_text(json.dumps({**json.loads(file.read_text()), "data": "none", "config": ["?"]}))
    with pytest.warns(UserWarning, match="config is no mapping"):
        runs = load_runs(tmp_path)
    assert len(runs.manifests) == 1
    assert str(file) in runs.problems[0]


def test_a_report_of_many_runs_costs_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of docs/report.md's figure for a hundred runs, a slice of it; the limit is some eight times what it takes."""
    monkeypatch.setattr(contents, "CONTENTS", (curves.section,))
    assert write_runs(tmp_path / "runs", rates=6, seeds=2, intervals=4, steps_each=2, positions=False) == 12
    took = timed_report(tmp_path / "runs", tmp_path / "out")
    assert took["both_s"] < 40
    assert took["page_mb"] < 2
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Of six conditions optimizer.lr=" in text
    assert "the answers and sections below go into the 2 conditions with the lowest final loss" in text
    assert 'data-name="sweep-many_runs"' in text
