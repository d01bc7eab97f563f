"""Checkpoint series from a run store: which model, how large, how far along, what its probe tokens cost (docs/methods.md §5).

Shapes: M tokens, C checkpoints.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trajlab.analysis.load import Runs
from trajlab.analysis.manifests import parameters_by_run
from trajlab.analysis.stored_tables import StoredTables
from trajlab.analysis.token_trends import nll_matrix, streamed_nll_matrix

COLUMNS = ["experiment", "model", "parameters", "step", "tokens", "ppl"]


def series_frame(runs: Runs, split: str | None = None) -> pd.DataFrame:
    """A row per run × checkpoint, variant raw: experiment, model (the run's name), parameters, step, tokens, ppl.

    ``split`` defaults to the first. bits_per_byte comes along where it is stored: it compares models whose tokenizers
    differ, perplexity does not.
    """
    raw = runs.intervals[runs.intervals["variant"] == "raw"]
    raw = raw[raw["split"] == (split or raw["split"].iloc[0])].rename(columns={"run": "model"})
    sizes = parameters_by_run(runs.manifests)
    keys = zip(raw["experiment"], raw["model"], strict=True)
    raw = raw.assign(parameters=[sizes.get(key, np.nan) for key in keys])
    return raw[[*COLUMNS, *(c for c in ("bits_per_byte",) if c in raw)]].reset_index(drop=True)


def series_experiments(runs: Runs) -> list[str]:
    """The experiments that compare models: several sizes, or runs without a seed (published checkpoints)."""
    found = []
    for experiment in dict.fromkeys(m["experiment"] for m in runs.manifests):
        own = [m for m in runs.manifests if m["experiment"] == experiment]
        sizes = {m.get("parameters") for m in own} - {None}
        if len(sizes) > 1 or all(m.get("seed") is None for m in own):
            found.append(experiment)
    return found


def scored_checkpoints(runs: Runs) -> Runs:
    """Without the checkpoints of published series that have no finite loss; ``problems`` names them.

    Their weights are broken, which says nothing of the others: a training run with such a loss has diverged, a series hasn't.
    """
    series = {(m.get("experiment"), m.get("run")) for m in runs.manifests if m.get("seed") is None}
    frame = runs.intervals
    if frame.empty or "loss" not in frame:
        return runs
    bad = frame[~np.isfinite(frame["loss"].to_numpy(float))]
    bad = bad[[key in series for key in zip(bad["experiment"], bad["run"], strict=True)]]
    if bad.empty:
        return runs
    gone = set(zip(bad["experiment"], bad["run"], bad["interval"], strict=True))
    tables = {name: _without(f, gone) for name, f in runs.tables.items()}
    steps = bad.groupby(["experiment", "run"], sort=False)["step"].unique()
    words = [
        f"{e}/{r}: step {', '.join(f'{s:,}' for s in own)} left out: no finite loss there."
        for (e, r), own in steps.items()
    ]
    return Runs(tables, runs.manifests, [*runs.problems, *words], runs.diverged)


def _without(frame: pd.DataFrame, gone: set[tuple[Any, ...]]) -> pd.DataFrame:
    keys = ["experiment", "run", "interval"]
    if not set(keys) <= set(frame):
        return frame
    return frame[[k not in gone for k in zip(*(frame[c] for c in keys), strict=True)]].reset_index(drop=True)


@dataclass(frozen=True)
class ProbedRun:
    """The probe tokens of one run along its checkpoints."""

    experiment: str
    model: str
    parameters: float
    nll_MC: NDArray[np.float64]
    tokens_C: NDArray[np.float64]
    """Tokens that the model has seen."""
    probes: pd.DataFrame
    """What the probes are, a row each in order; empty where table `probes` is absent."""

    @property
    def probe_set(self) -> tuple[Any, ...]:
        """Equal for runs of one experiment that share their probe tokens."""
        mark = self.probes["fingerprint"].iloc[0] if "fingerprint" in self.probes and len(self.probes) else None
        return self.experiment, len(self.nll_MC), mark

    def checkpoint(self, fraction: float) -> int:
        """The column nearest to that fraction of training."""
        return int(np.argmin(np.abs(self.tokens_C - fraction * self.tokens_C[-1])))


def probed_runs(runs: Runs) -> list[ProbedRun]:
    """Every run that has table `tokens`, variant raw, smallest model first within its experiment.

    Raises ValueError where a probe lacks a checkpoint.
    """
    probes, sizes = runs.table("probes"), parameters_by_run(runs.manifests)
    found = []
    for experiment, run, nll_MC, marks in _matrices(runs):
        own = probes
        if not probes.empty:
            own = probes[(probes["experiment"] == experiment) & (probes["run"] == run)]
            own = own.drop_duplicates("probe").sort_values("probe", ignore_index=True)
        size = sizes.get((experiment, run), np.nan)
        found.append(ProbedRun(experiment, run, size, nll_MC, marks["tokens"].to_numpy(float), own))
    return sorted(found, key=lambda r: (r.experiment, r.parameters, r.model))


def _matrices(runs: Runs) -> Iterator[tuple[str, str, NDArray[Any], pd.DataFrame]]:
    """Experiment, run, losses (M, C) and checkpoints of every run with table `tokens`; a stored one is never a frame."""
    if "tokens" not in runs.tables:
        return
    if isinstance(tables := runs.tables, StoredTables):
        columns = ["probe", "interval", "tokens", "step", "nll"]
        for m in sorted(runs.manifests, key=lambda m: (m["experiment"], m["run"])):
            own = {"experiment": m["experiment"], "run": m["run"], "variant": "raw"}
            nll_MC, marks = streamed_nll_matrix(tables.batches("tokens", columns, **own))
            if nll_MC.size:
                yield m["experiment"], m["run"], nll_MC, marks
        return
    table = runs.tokens[runs.tokens["variant"] == "raw"] if "variant" in runs.tokens else runs.tokens
    for (experiment, run), frame in table.groupby(["experiment", "run"], sort=False):
        yield str(experiment), str(run), *nll_matrix(frame)
