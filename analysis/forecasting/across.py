"""The contest across schedules: laws are fitted to whole runs of a family and predict its other runs (`run_across`).

The predicted run has another schedule or another length; none of its losses are seen. Shapes: M rows of the predicted run.
"""

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import pandas as pd

from trajlab.analysis.curve_laws import Law
from trajlab.analysis.curve_laws.curves import split_curves
from trajlab.analysis.forecasting.baselines import baselines
from trajlab.analysis.forecasting.projection import LinearFit, Projection, band, refusal
from trajlab.analysis.forecasting.rebuild import Run
from trajlab.analysis.forecasting.scoring import scores

LAST = "last loss of the fitted"
"""No law at all: the other run ends where the fitted ones did."""
PREDICTED = 8
"""Runs of a family that each fit predicts, drawn at random: a family of hundreds tells no more about laws than one of ten."""
FALLEN = 0.02
"""A rate that falls by less than this share of its peak tells nothing of the effect of its fall **(ours)**."""


def run_across(
    curves: pd.DataFrame,
    fitted: Sequence[int] = (1, 3),
    laws: Sequence[type[Law]] | None = None,
    draws: int = 2,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per family × number of fitted runs × draw × predicted run × law.

    Columns: family, fitted (how many), fits (their names), curve, law, and those of `scoring.scores`. The fitted runs are drawn at
    random among those of a family that know their rate, at least one with a rate that falls; each is drawn for all laws. Raises ValueError where no
    family has a run more than the smallest number.
    """
    chosen = baselines() if laws is None else tuple(laws)
    rng = np.random.default_rng(seed)
    rows = []
    for _, frame in curves.dropna(subset=["loss"]).groupby("family", sort=True):
        runs = [Run.of(str(name), part) for name, part in frame.groupby("curve", sort=True)]
        runs = [run for run in runs if run.lr_R is not None]
        for number in fitted:
            for _ in range(draws):
                if len(runs) > number and any(_falls(run) for run in runs):
                    rows += _one_draw(runs, number, chosen, rng)
    if not rows:
        raise ValueError(f"no family has more than {min(fitted)} runs whose learning rate is known")
    return pd.DataFrame(rows)


def _falls(run: Run) -> bool:
    return run.lr_R is not None and float(run.lr_R[np.argmax(run.lr_R) :].min()) < (1 - FALLEN) * float(run.lr_R.max())


def _one_draw(
    runs: Sequence[Run], number: int, laws: Sequence[type[Law]], rng: np.random.Generator
) -> list[dict[str, object]]:
    """All laws fitted to the same runs, on all others."""
    while True:
        picks = set(map(int, rng.choice(len(runs), number, replace=False)))
        known = [run for i, run in enumerate(runs) if i in picks]
        if any(_falls(run) for run in known):
            break
    others = [run for i, run in enumerate(runs) if i not in picks]
    others = [others[i] for i in sorted(rng.permutation(len(others))[:PREDICTED])]
    about = {"family": known[0].family, "fitted": number, "fits": ", ".join(run.name for run in known)}
    end = float(np.mean([run.loss_R[-1] for run in known]))
    rows = [
        {**about, "curve": o.name, "law": LAST, "seconds": 0.0, **scores(_flat(o, end), None, o.loss_R)} for o in others
    ]
    for law in laws:
        start = perf_counter()
        made = _fitted(law, known)
        seconds = perf_counter() - start
        for other in others:
            row = scores(_projected(law, made, other, known), None, other.loss_R)
            rows.append({**about, "curve": other.name, "law": law.name, "seconds": seconds, **row})
    return rows


def _flat(run: Run, loss: float) -> Projection:
    flat_M = np.full(len(run.loss_R), loss)
    return Projection(LAST, flat_M, flat_M, flat_M)


def _frame(runs: Sequence[Run]) -> pd.DataFrame:
    parts = [pd.DataFrame({"curve": r.name, "step": r.step_R, "loss": r.loss_R, "lr": r.lr_R}) for r in runs]
    return pd.concat(parts, ignore_index=True)


def _fitted(kind: type[Law], runs: Sequence[Run]) -> Law | str:
    """The law, or why there is none."""
    try:
        return kind.fit(_frame(runs), starts=4)
    except (ValueError, ArithmeticError, RuntimeError) as problem:
        return str(problem)


def _projected(kind: type[Law], law: Law | str, other: Run, known: Sequence[Run]) -> Projection:
    """The law over another run, with a band for its fit; where it has no value (the warm-up), the run's own losses stand."""
    if isinstance(law, str):
        return refusal(kind.name, len(other.loss_R), law)
    parts = [_evaluated(law, run) for run in known]
    residual_K = np.concatenate([run.loss_R[use] - loss[use] for run, (use, loss, _) in zip(known, parts, strict=True)])
    gradient_KQ = np.concatenate([gradient[use] for use, _, gradient in parts])
    used_M, loss_M, gradient_MQ = _evaluated(law, other)
    if not used_M.any():
        return refusal(kind.name, len(other.loss_R), "the fitted law has no finite value there")
    loss_M = np.where(used_M, loss_M, other.loss_R)  # neither gained nor lost: no law describes a warm-up
    gradient_MQ = np.where(used_M[:, None], gradient_MQ, 0.0)
    fit = LinearFit(residual_K[:, None] * gradient_KQ, gradient_KQ.T @ gradient_KQ, gradient_MQ, residual_K)
    return Projection(kind.name, loss_M, *band(loss_M, fit, np.random.default_rng(0)))  # a wide band is an answer here


def _evaluated(law: Law, run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that the law describes, its losses, and their derivatives by its parameters."""
    with np.errstate(all="ignore"):
        loss_R, gradient_RQ = law.predict(run.step_R, run.lr_R), law.gradient(run.step_R, run.lr_R)
    used_R = law.measured(split_curves(_frame([run]))[0]) & np.isfinite(loss_R) & np.isfinite(gradient_RQ).all(1)
    return used_R, loss_R, gradient_RQ


def across_table(scored: pd.DataFrame) -> pd.DataFrame:
    """One row per number of fitted runs and law: means over families of each family's mean; refused as the last loss.

    Columns: fitted, law, families, predicted, MAE, |final error|, in band, width, CRPS (of those made), refused.
    """
    keys = ["family", "fits", "curve"]
    last = scored[scored["law"] == LAST].drop_duplicates(keys).set_index(keys)
    wanted = pd.MultiIndex.from_frame(scored[keys])
    filled = {
        name: scored[name].fillna(pd.Series(last[name].reindex(wanted).to_numpy(), scored.index))
        for name in ("mae", "final_error")
    }
    scored = scored.assign(**filled).assign(off=lambda t: t["final_error"].abs())
    rows = []
    for (fitted, law), frame in scored.groupby(["fitted", "law"]):
        of_family = frame.groupby("family")
        made = frame[frame["refused"] == ""]
        means = {"MAE": of_family["mae"].mean().mean(), "final error": of_family["off"].mean().mean()}
        band = {"in band": made["final_inside"].mean(), "width": made["width"].mean(), "CRPS": made["crps"].mean()}
        size = {"families": frame["family"].nunique(), "predicted": len(frame)}
        refused = float((frame["refused"] != "").mean())
        rows.append({"fitted": fitted, "law": law, **size, **means, **band, "refused": refused})
    return pd.DataFrame(rows).sort_values(["fitted", "MAE"], ignore_index=True)
