"""The page: one file that answers first, whatever the runs are called and however broken they are."""

import base64
import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.analysis.report import chromium
from tests.analysis.simulated import budget_runs
from trajlab.analysis.conditions import conditions
from trajlab.analysis.load import Runs, load_runs
from trajlab.analysis.report import contents, sections, write_report
from trajlab.analysis.report.answers import main_split
from trajlab.analysis.report.comparison import comparisons
from trajlab.analysis.report.names import Unique, slug
from trajlab.analysis.report.sections import claims, curves, diminishing_returns, repeated_measures
from trajlab.analysis.report.sections.stability import spike_window
from trajlab.analysis.report.summary import common_curves, sentences, tiles
from trajlab.analysis.report.tables import columns, header, p_value
from trajlab.analysis.step_spikes import step_spikes

HOSTILE = (
    "../../../x",
    '" onerror="hostile=1" x="',
    "<script>hostile=1</script>",
    "$x_{",
    "</script><img src=x onerror=hostile=1>",
)


def two_conditions(worse: float = 0.3, seeds: int = 3) -> Runs:
    """Twice the budget study, the second time under another rate and ``worse`` nats above; seeds paired."""
    one = budget_runs(seeds=seeds, intervals=8)
    frames, manifests = [], []
    for rate, more in (("0.001", 0.0), ("0.01", worse)):
        names = {m["run"]: f"{m['run']},optimizer.lr={rate}" for m in one.manifests}
        noise = 0.005 * np.random.default_rng(1).standard_normal(len(one.intervals))
        frame = one.intervals.assign(run=one.intervals["run"].map(names))
        frame["train_loss"] = frame["loss"].where(frame["interval"] > 0) - 0.4
        frames.append(frame.assign(loss=frame["loss"] + (more + noise if more else 0.0)))
        manifests += [{**m, "run": names[m["run"]], "status": "finished"} for m in one.manifests]
    return Runs({"intervals": pd.concat(frames, ignore_index=True)}, manifests)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sections: the whole report is built by the budget study's test."""
    monkeypatch.setattr(contents, "CONTENTS", (curves.section, diminishing_returns.section))


@pytest.mark.parametrize("name", [*HOSTILE, "", "..", "a" * 500, "…"])
def test_a_slug_is_a_name_and_never_a_path(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}", slug(name))
    assert ".." not in slug(name)


def test_a_name_is_given_once() -> None:
    unique = Unique()
    assert [unique(n) for n in ("a", "a", "A", "b")] == ["a", "a-2", "A-3", "b"]


@pytest.mark.usefixtures("quick")
def test_hostile_names_stay_words(tmp_path: Path) -> None:
    name = " ".join(HOSTILE)
    one = budget_runs(seeds=2, intervals=4)
    tables = {k: f.assign(experiment=name, run=f["run"] + name) for k, f in one.tables.items()}
    runs = Runs(tables, [{**m, "experiment": name, "run": m["run"] + name, "git_commit": name} for m in one.manifests])
    page = write_report(runs, tmp_path / "out" / "deep", name, command=name)
    files = {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    assert all(p.parts[:2] == ("out", "deep") for p in files)
    text = page.read_text()
    assert text.count("<script>") == text.count("</script>") == 1
    without_values = re.sub(r'"[^"]*"' + r"|'[^']*'", '""', re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.S))
    assert not re.search(r"<[a-z][^<>]*\sonerror=", without_values)
    assert "$x_{" in text
    assert "<script" not in page.with_suffix(".md").read_text().replace("\\<script", "")


@pytest.mark.usefixtures("quick")
def test_the_page_stands_alone(tmp_path: Path) -> None:
    text = write_report(two_conditions(), tmp_path, "Two rates").read_text()
    sources = re.findall(r'\b(?:src|href|data)="([^"]*)"', text)
    assert all(s.startswith(("#", "data:")) for s in sources)
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text


def test_the_answer_is_computed_from_the_runs() -> None:
    runs = budget_runs(seeds=6)
    (condition,) = conditions(runs)
    curves_SK = common_curves(condition.intervals)
    assert curves_SK is not None
    mean = runs.intervals.groupby("interval")["loss"].mean()
    turn, agreement, _ = sentences(curves_SK, floor=1.5)
    assert (
        f"lowest, {mean.min():.2f}, at 4M tokens and ended at {mean.iloc[-1]:.2f}; 80 % of the budget came after"
        in turn
    )
    assert agreement.startswith("All six seeds ended higher")
    assert [t.value for t in tiles(curves_SK)][:2] == [f"{mean.min():.3f} nats", "4M"]


def test_a_seed_does_not_choose_where_its_own_rise_starts() -> None:
    """On pure noise the rise from each seed's own minimum is always positive; from the others' it is zero on average."""
    rng = np.random.default_rng(0)
    rises = []
    for _ in range(60):
        noise = rng.standard_normal((6, 20))
        frame = pd.DataFrame(
            [{"run": s, "interval": t, "tokens": t, "loss": noise[s, t]} for s in range(6) for t in range(20)]
        )
        found = common_curves(frame)
        assert found is not None
        rises.append(found.rise_S.mean())
    assert abs(np.mean(rises)) < 0.15


def test_conditions_are_compared_by_seed_and_never_pooled(tmp_path: Path) -> None:
    runs = two_conditions(worse=0.3)
    (found,) = comparisons(main_split(list(conditions(runs))))
    assert found.reference == "optimizer.lr=0.001"
    assert found.losses["condition"].tolist() == ["optimizer.lr=0.001", "optimizer.lr=0.01"]
    last = found.differences.iloc[-1]
    assert last["difference"] == pytest.approx(0.3, abs=0.02)
    (pair,) = found.pairs.to_dict("records")
    assert last["band_low"] < pair["95 % CI from"] < last["difference"] < pair["to"] < last["band_high"]
    assert pair["verdict"] == "worse"
    assert found.sentences[0].startswith("optimizer.lr=0.001 is better than optimizer.lr=0.01 from ")
    assert "three seeds paired" in found.sentences[0]
    part = curves.section(runs)
    assert part is not None
    tables = [b.frame for b in part.blocks if b.frame is not None]
    assert [t["last loss"].iloc[0] for t in tables] == pytest.approx(found.losses["final loss (nats)"].tolist())


def test_what_may_be_chance_is_called_so() -> None:
    runs = two_conditions(worse=0.0)
    own = runs.intervals["seed"].map({0: 0.03, 1: -0.02, 2: 0.002})
    apart = runs.intervals["loss"] + own.where(runs.intervals["run"].str.endswith("0.01"), 0.0)
    (found,) = comparisons(list(conditions(Runs({"intervals": runs.intervals.assign(loss=apart)}, runs.manifests))))
    assert "may be chance" in found.sentences[0]


def test_a_run_that_ended_sooner_and_lower_is_no_chance() -> None:
    """The longest run ends lowest of all; where a shorter one ended, that one was lower, with an interval that excludes 0."""
    runs = two_conditions(worse=-0.3)
    frame, half = runs.intervals, runs.intervals["tokens"].median()
    frame = frame[~frame["run"].str.endswith("0.01") | (frame["tokens"] <= half)]
    longer = frame.assign(loss=frame["loss"].where(frame["tokens"] <= half, 0.1))
    (found,) = comparisons(list(conditions(Runs({"intervals": longer}, runs.manifests))))
    (words,) = found.sentences
    assert "optimizer.lr=0.001 ended lowest, but at " in words
    assert "optimizer.lr=0.01 was lower by 0.3" in words
    assert "chance" not in words
    assert "M tokens" in words
    assert found.pairs["verdict"].tolist() == ["lower at equal tokens"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("study", ["averaging", "budget"])
def test_what_averages_gained_stands_before_their_controls(study: str, tmp_path: Path) -> None:
    """In a study of averaging; a study of something else tells of its own first."""
    runs = two_conditions()
    alone = budget_runs(seeds=3, intervals=8)
    own = alone.intervals.assign(experiment="z_averages")
    averages = own.assign(variant="lawa5", loss=own["loss"] - 0.1)
    frame = pd.concat([runs.intervals, own, averages], ignore_index=True)
    theirs = {"experiment": "z_averages", "status": "finished", "study": study}
    manifests = [*runs.manifests, *({**m, **theirs} for m in alone.manifests)]
    text = write_report(Runs({"intervals": frame}, manifests), tmp_path, "Averages").read_text()
    first, gained = text.index('<p class="lead">'), "After the first tenth of the run lawa5 lay 0.100 nats below"
    assert text[first:].startswith(f'<p class="lead">{gained}') == (study == "averaging")
    assert (text.index(gained) < text.index("is better than")) == (study == "averaging")
    assert text.count("lawa5 lay 0.100") == 1


def test_one_broken_section_is_a_box(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(runs: Runs) -> None:
        raise ZeroDivisionError("nothing to divide")

    monkeypatch.setattr(contents, "CONTENTS", (failing, curves.section))
    broken, whole = sections(budget_runs(seeds=1, intervals=3))
    assert broken.blocks[0].kind == "problem"
    assert "ZeroDivisionError: nothing to divide" in broken.blocks[0].words
    assert whole.title == "Curves"


@pytest.mark.usefixtures("quick")
def test_a_corrupt_run_and_a_corrupt_table_are_boxes(tmp_path: Path) -> None:
    one = budget_runs(seeds=4, intervals=4)
    for manifest in one.manifests:
        folder = tmp_path / "runs" / manifest["experiment"] / manifest["run"]
        for name, frame in one.tables.items():
            (folder / "metrics" / name).mkdir(parents=True)
            frame[frame["run"] == manifest["run"]].to_parquet(folder / "metrics" / name / "part-00000.parquet")
        (folder / "manifest.json").write_text(json.dumps({**manifest, "status": "finished"}))
    root = tmp_path / "runs" / "tinystories_budget"
    (root / "seed=1" / "manifest.json").write_text("{")
    (root / "seed=2" / "metrics" / "intervals" / "part-00000.parquet").write_bytes(b"PAR1 no")
    (root / "seed=3" / "metrics" / "stranger").mkdir()
    with pytest.warns(UserWarning, match="left out"):
        runs = load_runs(tmp_path)
    assert [p.split(": ")[0].rsplit("/", 2)[-1] for p in runs.problems][1] == "part-00000.parquet"
    assert sorted(runs.intervals["run"].unique()) == ["seed=0", "seed=3"]
    text = write_report(runs, tmp_path / "out", "Broken").read_text()
    assert text.count('class="box"') == 2
    assert "Both seeds ended higher" in text


@pytest.mark.usefixtures("quick")
def test_a_diverged_seed_takes_no_other_with_it(tmp_path: Path) -> None:
    runs = budget_runs(seeds=4, intervals=6)
    loss = runs.intervals["loss"].where(
        ~((runs.intervals["run"] == "seed=2") & (runs.intervals["interval"] > 3)), np.nan
    )
    broken = Runs({"intervals": runs.intervals.assign(loss=loss)}, runs.manifests)
    text = write_report(broken, tmp_path, "Diverged").read_text()
    assert "Diverged: tinystories_budget/seed=2" in text
    assert "All three seeds ended higher" in text
    assert "Not computed" not in text


def test_statistics_and_claims_stand_beside_a_diverged_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "CONTENTS", (repeated_measures.section, claims.section))
    monkeypatch.setattr(repeated_measures, "CALIBRATED_CELLS", 0)  # which takes a second or two
    runs = budget_runs(seeds=5, intervals=8)
    frame = runs.intervals
    loss = frame["loss"].where((frame["run"] != "seed=2") | (frame["interval"] < 4), np.nan)
    broken = Runs({"intervals": frame.assign(loss=loss, ppl=np.exp(loss))}, runs.manifests)
    text = write_report(broken, tmp_path, "Diverged").read_text()
    assert "Diverged: tinystories_budget/seed=2" in text
    assert "Not computed" not in text
    assert "not checked" not in text
    assert "F(7, 21)" in text, "four seeds × eight intervals"
    assert "Published claims" in text


def test_the_numbers_of_the_page_are_the_tables(tmp_path: Path, quick: None) -> None:
    text = write_report(two_conditions(), tmp_path, "Numbers").read_text()
    table = text[text.index("<tbody>") : text.index("</tbody>")]
    shown = pd.DataFrame([re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in table.split("</tr>")[:-1]])
    (data,) = re.findall(r'href="data:text/csv;charset=utf-8;base64,([^"]+)" download="tinystories_budget-losses', text)
    exact = pd.read_csv(StringIO(base64.b64decode(data).decode()))
    assert len(shown) == len(exact) == 2
    np.testing.assert_allclose(shown.iloc[:, 1].astype(float), exact["final loss (nats)"], atol=6e-4)
    np.testing.assert_allclose(
        shown.iloc[:, -2].astype(str).str.replace(",", "").astype(float), exact["tokens at best"]
    )


def test_tables_read_as_people_write_them() -> None:
    frame = pd.DataFrame(
        {
            "p_holm": [4.6e-157, 0.0312],
            "tokens": [512000, 4.779e5],
            "loss": [2.5, 3.123456],
            "run": ["a", None],
            "z": [np.inf, 1.0],
        }
    )
    p, tokens, loss, run, z = columns(frame)
    assert (p.header, p.cells) == ("p (Holm)", ["< .0001", ".0312"])
    assert tokens.cells == ["512,000", "477,900"]
    assert loss.cells == ["2.500", "3.123"]
    assert (run.cells, run.numeric) == (["a", "–"], False)
    assert z.cells[0] == "∞"
    assert p_value(1.0) == "> .9999"
    assert header(("loss", "mean")) == "loss (nats) · mean"
    pivot = (
        pd.DataFrame({"a": ["x"], "b": ["y"], "v": [1.0]}).pivot_table(index="a", columns="b", values="v").reset_index()
    )
    assert [c.header for c in columns(pivot)] == ["a", "y"]


def test_a_spike_in_a_short_run_is_seen() -> None:
    """8 nats in a run of 1,000 steps: z = 5 against a window that holds the fall of the loss, beyond 7 against a shorter."""
    steps = np.arange(1, 1001)
    loss = 3 + 6 * np.exp(-steps / 60) + 0.05 * np.random.default_rng(0).standard_normal(1000)
    loss[150] += 8
    frame = pd.DataFrame({"run": "seed=0", "step": steps, "train_loss": loss})
    assert not step_spikes(frame)["spike"].any()
    window = spike_window(1000)
    assert window == 50
    assert step_spikes(frame, window=window, history=window)["spike"].to_numpy().nonzero()[0].tolist() == [150]
    assert spike_window(30) is None
    assert spike_window(50_000) == 1000


@pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)")
@pytest.mark.usefixtures("quick")
def test_the_page_in_a_real_browser(tmp_path: Path) -> None:
    runs = two_conditions()
    hostile = {"<script>hostile=1</script>": HOSTILE[4]}
    runs = replace(runs, problems=list(hostile), manifests=[{**m, "git_commit": HOSTILE[4]} for m in runs.manifests])
    page = write_report(runs, tmp_path / "report", HOSTILE[2])
    (tmp_path / "alone").mkdir()
    found = chromium.opened(page, (1200, 800, 390), tmp_path / "alone")
    assert set(found) == {"1200", "800", "390"}
    assert page.read_text().count("data-told") > 5
    for width, seen in found.items():
        assert seen["errors"] == [], width
        assert seen["over"] <= 0, width
        assert seen["cut"] == [], width
        assert seen["nameless"] == 0, width
        assert seen["twice"] == [], width
        assert seen["loaded"] == [], width
        assert not seen["hostile"], width
        assert seen["sorted"], width
        assert re.match(r"\S+ tokens seen\nlr=", seen["told"]), width
