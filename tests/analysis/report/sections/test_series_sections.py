"""The sections on checkpoint series: each there exactly when its tables are, from files to the written report."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.analysis.test_sequences import table as sequence_table
from trajlab.analysis.checkpoint_series import scored_checkpoints
from trajlab.analysis.load import Runs, load_runs
from trajlab.analysis.report import write_report
from trajlab.analysis.report.caveats import caveats
from trajlab.analysis.report.section import Section
from trajlab.analysis.report.sections import claims, sequences, series, task_curves, token_trends

MODELS = {"small": 1e6, "large": 1e8}
CHECKPOINTS = 12


def intervals(seed: int | None = None) -> pd.DataFrame:
    frame = pd.DataFrame(
        [
            ("e", run, seed, "raw", "valid", i, 100 * i, i, 50.0 * size**-0.1 / (1 + i) + 3, 1.5)
            for run, size in MODELS.items()
            for i in range(CHECKPOINTS)
        ],
        columns=["experiment", "run", "seed", "variant", "split", "interval", "tokens", "step", "ppl", "bits_per_byte"],
    )
    return frame.assign(loss=np.log(frame["ppl"]))


def tokens() -> pd.DataFrame:
    u = np.linspace(0, 1, CHECKPOINTS)
    rng = np.random.default_rng(0)
    shapes = [3 - u, 2 + u, np.full(CHECKPOINTS, 2.0), 2 + np.cos(2 * np.pi * u)]
    frames = []
    for run in MODELS:
        nll = np.repeat(shapes, 10, axis=0) + rng.normal(0, 0.01, (40, CHECKPOINTS))
        grid = pd.DataFrame(nll).reset_index(names="probe").melt("probe", var_name="interval", value_name="nll")
        frames.append(grid.assign(experiment="e", run=run, variant="raw", split="valid"))
    frame = pd.concat(frames, ignore_index=True).astype({"interval": int})
    return frame.assign(tokens=100 * frame["interval"], step=frame["interval"])


def probes() -> pd.DataFrame:
    one = pd.DataFrame({"probe": range(40), "position": range(40), "frequency": range(40), "token": ["Ġa", "b"] * 20})
    return pd.concat([one.assign(experiment="e", run=run, fingerprint="f") for run in MODELS], ignore_index=True)


def tasks() -> pd.DataFrame:
    columns = ["experiment", "run", "step", "tokens", "task", "metric", "value"]
    rows = [
        ("e", run, i, 100 * i, task, "acc", 0.3 + 0.02 * i + 0.05 * k)
        for run in MODELS
        for i in range(CHECKPOINTS)
        for k, task in enumerate(("a", "b"))
    ]
    return pd.DataFrame(rows, columns=columns)


TABLES = {
    "intervals": intervals,
    "tokens": tokens,
    "probes": probes,
    "tasks": tasks,
    "sequences": sequence_table,
}


def runs(*names: str, sizes: dict[str, float] = MODELS) -> Runs:
    manifests = [{"experiment": "e", "run": run, "seed": None, "parameters": int(size)} for run, size in sizes.items()]
    return Runs({name: TABLES[name]() for name in names}, manifests)


def kinds(part: Section | None) -> list[str]:
    assert part is not None
    return [b.kind for b in part.blocks]


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        (series, ("intervals",)),
        (token_trends, ("tokens",)),
        (sequences, ("sequences",)),
        (task_curves, ("intervals", "tasks")),
    ],
)
def test_a_section_is_there_exactly_when_its_tables_are(module, needs: tuple[str, ...]) -> None:
    assert module.section(Runs({})) is None
    others = [name for name in TABLES if name not in needs]
    assert module.section(runs(*others)) is None
    found = kinds(module.section(runs(*needs)))
    assert "figure" in found
    assert "table" in found


def test_seeds_of_one_size_are_no_series() -> None:
    manifests = [{"experiment": "e", "run": run, "seed": k, "parameters": 10} for k, run in enumerate(MODELS)]
    assert series.section(Runs({"intervals": intervals(0)}, manifests)) is None


def test_token_trends_hold_shares_kinds_and_double_descent() -> None:
    part = token_trends.section(runs("tokens", "probes"))
    assert part is not None
    shares, kinds_of_tokens, descent, matched = [b.frame for b in part.blocks if b.kind == "table"]
    assert shares is not None
    assert set(shares["model"]) == set(MODELS)
    np.testing.assert_allclose(shares[["downward", "upward", "stagnated", "unclassified"]].sum(axis=1), 1)
    assert kinds_of_tokens is not None
    assert set(kinds_of_tokens["property"]) == {"frequency among validation targets", "position", "part of word"}
    assert descent is not None
    assert list(descent["model"]) == ["small", "large"]
    assert matched is not None
    assert list(matched.columns) == ["level", "small", "large"]


def test_too_few_checkpoints_for_a_trend_leave_the_section_out() -> None:
    frame = tokens()
    assert token_trends.section(Runs({"tokens": frame[frame["interval"] < 2]}, runs().manifests)) is None


def test_models_with_other_probes_are_not_traced_together() -> None:
    other = probes()
    other.loc[other["run"] == "large", "fingerprint"] = "g"
    part = token_trends.section(Runs({"tokens": tokens(), "probes": other}, runs().manifests))
    assert part is not None
    assert not [b for b in part.blocks if b.name.endswith("double_descent")]
    assert len([b for b in part.blocks if b.name.endswith("token_trajectories")]) == 2


def test_a_checkpoint_without_a_task_is_said_and_left_out() -> None:
    found = runs("intervals", "tasks")
    found.tables["tasks"] = found.tables["tasks"].drop(index=5)
    part = task_curves.section(found)
    assert part is not None
    assert "lack a task" in part.blocks[0].words


def test_one_checkpoint_has_tables_and_no_empty_figures() -> None:
    one = runs("intervals", "tasks", "sequences")
    for name in ("intervals", "tasks", "sequences"):
        frame = one.tables[name]
        last = frame["tokens"].max()
        one.tables[name] = frame[frame["tokens"] == last].reset_index(drop=True)
    part = sequences.section(one)
    assert part is not None
    assert [b.kind for b in part.blocks if b.kind == "figure"] == []
    assert part.blocks[0].words.endswith("one checkpoint, so there is no curve to draw.")
    assert "table" in kinds(part)


def test_every_number_of_every_task_is_in_a_table() -> None:
    found = runs("intervals", "tasks")
    text = found.tables["tasks"].assign(task="wikitext", metric="word_perplexity", value=31.5, stderr=np.nan)
    found.tables["tasks"] = text
    part = task_curves.section(found)
    assert part is not None
    assert kinds(part) == ["table"], "texts that are only scored have no accuracy to draw"
    found.tables["tasks"] = pd.concat([tasks().assign(stderr=0.05), text]).assign(n=100, shots=0)
    items = pd.DataFrame({"experiment": "e", "run": "small", "task": ["a", "a"], "chance": [0.5, 0.25]})
    found.tables["task_items"] = items
    part = task_curves.section(found)
    assert part is not None
    table = part.blocks[-1].frame
    assert table is not None
    rows = table.set_index(["model", "task"])
    assert rows.loc[("small", "wikitext"), "value"] == 31.5
    assert np.isnan(rows.loc[("small", "wikitext"), "chance"])
    assert rows.loc[("small", "a"), ["stderr", "n", "chance"]].tolist() == [0.05, 100, 0.375]
    assert rows.loc[("large", "a"), "value"] == pytest.approx(0.3 + 0.02 * 11)


def test_a_broken_checkpoint_leaves_the_others_in_the_report(tmp_path: Path) -> None:
    found = runs("intervals", "tokens", "probes")
    found.tables["intervals"].loc[3, ["loss", "ppl"]] = np.nan
    kept = scored_checkpoints(found)
    assert kept.problems == ["e/small: step 3 left out: no finite loss there."]
    assert len(kept.intervals) == len(found.intervals) - 1
    assert set(kept.tokens.query("run == 'small'")["interval"]) == set(range(CHECKPOINTS)) - {3}
    write_report(found, tmp_path, "Series")
    text = (tmp_path / "report.md").read_text()
    assert "> e/small: step 3 left out" in text
    assert "Diverged" not in text
    assert "## Checkpoint series" in text
    trained = runs("intervals")
    trained.manifests[0]["seed"] = 0
    trained.tables["intervals"].loc[3, ["loss", "ppl"]] = np.nan
    assert scored_checkpoints(trained) is trained, "a training run with such a loss has diverged"


def test_other_contexts_are_said_in_the_report() -> None:
    found = runs("intervals")
    for manifest, context in zip(found.manifests, (2048, 8192), strict=True):
        manifest["data"] = {"context": context}
    part = series.section(found)
    assert part is not None
    assert next(b.words for b in part.blocks if b.kind == "problem").startswith(
        "The models were scored with windows of different lengths (small 2,048, large 8,192 tokens)"
    )


def test_a_stopped_series_is_called_unfinished() -> None:
    found = runs("intervals")
    found.manifests[0]["status"] = "running"
    assert caveats(found)[0].startswith("Unfinished: e/small.")


def test_from_stored_files_to_the_report(tmp_path: Path) -> None:
    for run, size in MODELS.items():
        folder = tmp_path / "e" / run
        folder.mkdir(parents=True)
        manifest = {"experiment": "e", "run": run, "seed": None, "parameters": int(size), "status": "finished"}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        for name, make in TABLES.items():
            frame = make()
            (folder / "metrics" / name).mkdir(parents=True)
            frame[frame["run"] == run].to_parquet(folder / "metrics" / name / "part-000000.parquet")
    loaded = load_runs(tmp_path)

    write_report(loaded, tmp_path / "report", "Series")
    text = (tmp_path / "report" / "report.md").read_text()
    for title in ("Checkpoint series", "Token trends", "Sequences", "Tasks"):
        assert f"## {title}" in text
    drawn = {p.stem for p in (tmp_path / "report" / "figures").glob("*.svg")}
    assert {"e_series", "e_trend_shares", "e_large_token_trajectories", "e_small_double_descent"} <= drawn
    assert {"e_noise", "e_mixtures", "e_tasks", "e_task_panels"} <= drawn


def test_claims_are_tried_where_models_are_compared() -> None:
    found = claims.section(runs("tokens", "intervals", "tasks", "sequences"))
    assert found is not None
    (block,) = found.blocks
    assert block.frame is not None
    assert set(block.frame["verdict"]) <= {"supported", "contradicted", "undecided", "not testable"}
    assert claims.section(Runs({})) is None
    assert claims.section(runs("intervals")) is None
