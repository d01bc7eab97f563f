"""Stored tables are read when they are asked for, in pieces where they are large, and through DuckDB."""

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trajlab.analysis import load, stored_tables
from trajlab.analysis.checkpoint_series import probed_runs
from trajlab.analysis.load import Runs, load_runs
from trajlab.analysis.token_trends import nll_matrix, streamed_nll_matrix

PROBES, CHECKPOINTS = 7, 4


def _write(root: Path, run: str, seed: int, losses: np.ndarray) -> None:
    """Tables `intervals` and `tokens` of a run, of two variants, a part per checkpoint."""
    folder = root / "a" / run
    manifest = {"experiment": "a", "run": run, "seed": seed, "status": "finished", "parameters": 10 + seed}
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for i in range(losses.shape[1]):
        for variant in ("raw", "lawa5"):
            who = {"experiment": "a", "run": run, "seed": seed, "interval": i, "tokens": 100 * i, "step": i}
            same = {**who, "variant": variant, "split": "valid"}
            shift = 0.0 if variant == "raw" else 1.0
            suffix = "" if variant == "raw" else ".lawa5"
            rows = [{**same, "probe": p, "nll": losses[p, i] + shift} for p in reversed(range(len(losses)))]
            _part(folder, "tokens", f"part-{i:05d}{suffix}", rows)
            _part(folder, "intervals", f"part-{i:05d}{suffix}", [{**same, "loss": losses[:, i].mean() + shift}])


def _part(folder: Path, table: str, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / "metrics" / table).mkdir(parents=True, exist_ok=True)
    found = pa.Table.from_pylist(rows)
    if "nll" in found.column_names:
        found = found.set_column(found.column_names.index("nll"), "nll", found["nll"].cast(pa.float32()))
    pq.write_table(found, folder / "metrics" / table / f"{name}.parquet")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    for seed in range(3):
        losses = np.random.default_rng(seed).normal(3, 1, (PROBES, CHECKPOINTS)).astype(np.float32)
        _write(tmp_path, f"seed={seed}", seed, losses)
    return tmp_path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The parts that are opened from here on; none is checked beforehand, as in a large folder."""
    log: list[Path] = []
    plain = stored_tables._opened
    monkeypatch.setattr(stored_tables, "_opened", lambda p: log.append(p) or plain(p))
    monkeypatch.setattr(load, "CHECKED_PARTS", 0)
    return log


def test_opening_a_folder_reads_no_table_and_a_table_reads_no_other(stored: Path, opened: list[Path]) -> None:
    runs = load_runs(stored)
    assert (len(runs.manifests), list(runs.tables), opened) == (3, ["intervals", "tokens"], [])
    assert len(runs.intervals) == 3 * 2 * CHECKPOINTS
    assert {p.parent.name for p in opened} == {"intervals"}
    opened.clear()
    one = runs.select(run="seed=1", variant="raw")
    assert set(one.tokens["run"]) == {"seed=1"}
    assert set(one.tokens["variant"]) == {"raw"}
    assert {p.parts[-4] for p in opened} == {"seed=1"}, "the other runs' parts are left alone"
    assert "tokens" in repr(runs)
    assert len(opened) == 2 * CHECKPOINTS


def test_what_is_selected_is_the_same_before_and_after_reading(stored: Path) -> None:
    read = load_runs(stored)
    frames = Runs(dict(read.tables), read.manifests)
    for values in (
        {"run": "seed=1"},
        {"variant": "lawa5"},
        {"seed": 2, "variant": "raw"},
        {"probe": 3},
        {"interval": 1},
    ):
        for runs in (load_runs(stored), read):
            for table in ("intervals", "tokens"):
                expected = frames.select(**values).table(table)
                assert runs.select(**values).table(table).equals(expected), (values, table)
    gone = {("a", "seed=0")}
    assert load_runs(stored).without(gone).tokens.equals(frames.without(gone).tokens)
    with pytest.raises(ValueError, match=r"select\(varient=…\): no table has a column varient; did you mean variant"):
        load_runs(stored).select(varient="raw")
    with pytest.raises(ValueError, match=r"selects nothing; there are 'lawa5', 'raw'"):
        load_runs(stored).select(variant="ema")


def test_a_broken_part_of_a_large_folder_shows_when_its_table_is_read(stored: Path, opened: list[Path]) -> None:
    part = stored / "a" / "seed=1" / "metrics" / "tokens" / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    runs = load_runs(stored)
    assert set(runs.intervals["run"]) == {"seed=0", "seed=1", "seed=2"}
    with pytest.warns(UserWarning, match="left out: .*seed=1.*part-00001"):
        assert set(runs.tokens["run"]) == {"seed=0", "seed=2"}
    assert set(runs.intervals["run"]) == {"seed=0", "seed=2"}, "from then on nowhere"
    assert [m["run"] for m in runs.manifests] == ["seed=0", "seed=2"]
    assert "seed=1" in runs.problems[0]


def test_a_run_that_is_compacted_after_it_was_opened_is_read_all_the_same(stored: Path) -> None:
    from trajlab.store.compaction import compact

    whole, runs = load_runs(stored), load_runs(stored)
    expected = whole.tokens
    for seed in range(3):
        compact(stored / "a" / f"seed={seed}")
    assert runs.tokens.equals(expected)
    assert len(list(runs.tables.batches("tokens", ["nll"]))) == 6  # type: ignore[attr-defined]


# ---- long tables


def test_the_streamed_matrix_is_that_of_the_frame(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_tables, "BATCH_ROWS", 3)  # parts come in pieces
    runs = load_runs(stored)
    own = runs.tokens.query("run == 'seed=2' and variant == 'raw'")
    expected, expected_marks = nll_matrix(own)
    columns = ["probe", "interval", "tokens", "step", "nll"]
    for where in (runs, runs.select(variant="raw")):
        batches = where.tables.batches("tokens", columns, run="seed=2", variant="raw")  # type: ignore[attr-defined]
        nll_MC, marks = streamed_nll_matrix(batches)
        assert nll_MC.dtype == expected.dtype
        assert np.array_equal(nll_MC, expected)
        assert marks.equals(expected_marks)


def test_holes_and_losses_that_are_not_finite_are_those_of_the_frame(stored: Path) -> None:
    rows = load_runs(stored).select(run="seed=0", variant="raw").tokens
    with pytest.raises(ValueError, match="probe 3 at interval 1 has 0 rows, expected one"):
        streamed_nll_matrix(
            pa.Table.from_pandas(rows.drop(rows.query("probe == 3 and interval == 1").index)).to_batches()
        )
    with pytest.raises(ValueError, match="probe 6 at interval 0 has 2 rows, expected one"):
        streamed_nll_matrix(pa.Table.from_pandas(rows.iloc[[*range(len(rows)), 0]]).to_batches())
    broken = rows.assign(nll=rows["nll"].where(rows["interval"] != 2, np.float32(np.nan)))
    with pytest.warns(UserWarning, match="step 2 left out"):
        expected, _ = nll_matrix(broken)
    with pytest.warns(UserWarning, match="step 2 left out"):
        found, marks = streamed_nll_matrix(pa.Table.from_pandas(broken).to_batches())
    assert np.array_equal(found, expected)
    assert marks["interval"].tolist() == [0, 1, 3]


def test_probed_runs_never_make_a_frame_of_table_tokens(stored: Path) -> None:
    runs = load_runs(stored)
    streamed = probed_runs(runs)
    assert runs.tables.rows("tokens") is None  # type: ignore[attr-defined]
    framed = probed_runs(Runs(dict(runs.tables), runs.manifests))
    assert [r.model for r in streamed] == ["seed=0", "seed=1", "seed=2"]
    for a, b in zip(streamed, framed, strict=True):
        assert (a.model, a.parameters, a.tokens_C.tolist()) == (b.model, b.parameters, b.tokens_C.tolist())
        assert np.array_equal(a.nll_MC, b.nll_MC)


# ---- DuckDB


@pytest.mark.parametrize("folder", ["plain", "odd[1] {x}*"])
def test_a_relation_has_the_rows_of_the_frame(stored: Path, tmp_path: Path, folder: str) -> None:
    pytest.importorskip("duckdb")
    place = tmp_path.parent / f"{tmp_path.name}-{folder}"
    stored.rename(place)
    runs = load_runs(place).select(variant="raw")
    relation = runs.scan("tokens").filter("probe < 3").aggregate("run, count(*) as n, sum(nll) as nll").order("run")
    frame = runs.tokens.query("probe < 3").astype({"nll": float}).groupby("run")["nll"].agg(["size", "sum"])
    assert [row[:2] for row in relation.fetchall()] == list(frame["size"].items())
    np.testing.assert_allclose([row[2] for row in relation.fetchall()], frame["sum"])


def test_a_relation_that_cannot_be_had_is_refused_with_the_remedy(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("duckdb")
    runs = load_runs(stored)
    with pytest.raises(ValueError, match=r"scan\('tasks'\): no run has this table; there are intervals, tokens"):
        runs.scan("tasks")
    with pytest.raises(ValueError, match="made of frames"):
        Runs(dict(runs.tables)).scan("tokens")
    plain = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'trajlab\[duckdb\]'"):
        runs.scan("tokens")
