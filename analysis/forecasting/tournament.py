"""The contest on curve files: every law × curve × fraction seen, scored on strictly later losses (`run_contest`, `ranking`).

Shapes: R rows of a run, K seen, M later. Losses in nats.
"""

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import pandas as pd

from trajlab.analysis.curve_laws import Law
from trajlab.analysis.forecasting.baselines import MeanLoss, baselines, last_value, project_law
from trajlab.analysis.forecasting.default import Tables, outlook, shipped
from trajlab.analysis.forecasting.projection import Projection
from trajlab.analysis.forecasting.rebuild import FEWEST_SEEN, FRACTIONS, Archive, Run

COLUMNS = [
    *("curve", "family", "law", "fraction", "n_seen", "final_loss", "final_forecast", "final_low", "final_high"),
    *("final_error", "final_inside", "mae", "inside", "width", "winkler", "crps", "refused", "seconds"),
]
"""Of `scores.parquet`; errors are forecast − loss, width and the scores are means over later points, nats."""
HALF = 0.41
"""Half-width of a 50 % band over that of 90 % (Gaussian), for laws that give one band only."""
RESAMPLES = 2000


def run_contest(
    curves: pd.DataFrame,
    fractions: Sequence[float] = FRACTIONS,
    laws: Sequence[type[Law]] | None = None,
    archive: Archive | None = None,
) -> pd.DataFrame:
    """One row per curve × fraction × law with `COLUMNS` and ``half_inside`` (50 % coverage over later points).

    ``laws`` beside ``default``, ``response`` (the default without rivals) and ``last value``: by default those whose fit takes
    less than seconds. With an ``archive`` of these curves each family's forecasts rest on the other families alone; without,
    on the numbers shipped. A fraction at which a curve has fewer than 8 losses is left out.
    """
    chosen = baselines(costly=False) if laws is None else tuple(laws)
    tables: dict[str, Tables] = {}
    rows = []
    for name, frame in curves.dropna(subset=["loss"]).groupby("curve", sort=True):
        run = Run.of(str(name), frame)
        if run.family not in tables:
            tables[run.family] = shipped() if archive is None else archive.tables(without=run.family)
        for fraction in fractions:
            if FEWEST_SEEN <= run.seen(fraction) < len(run.step_R):
                rows += _lines(run, fraction, chosen, tables[run.family])
    if not rows:
        raise ValueError(f"no curve has {FEWEST_SEEN} losses at any of the fractions {', '.join(map(str, fractions))}")
    return pd.DataFrame(rows)[[*COLUMNS, "half_inside"]]


def _lines(run: Run, fraction: float, laws: Sequence[type[Law]], tables: Tables) -> list[dict[str, object]]:
    """All laws on one curve at one fraction."""
    seen = run.seen(fraction)
    step_M = run.step_R[seen:]
    lr_K, lr_M = (None, None) if run.lr_R is None else (run.lr_R[:seen], run.lr_R[seen:])
    early = MeanLoss.of(run.step_R[:seen], run.loss_R[:seen], lr_K)
    rng = np.random.default_rng(0)
    found = []

    def timed(name: str, projection: Projection, halves: tuple[np.ndarray, np.ndarray] | None, start: float) -> None:
        seconds = perf_counter() - start
        about = {"curve": run.name, "family": run.family, "law": name, "fraction": fraction, "n_seen": seen}
        found.append({**about, **scores(projection, halves, run.loss_R[seen:]), "seconds": seconds})

    for name, rivals in (("default", True), ("response", False)):
        start = perf_counter()
        try:
            o = outlook(run.step_R[:seen], run.loss_R[:seen], step_M, run.lr_R, tables, rivals=rivals)
            timed(name, Projection(name, o.loss_M, *o.band()), o.band(0.5), start)
        except ValueError as e:
            nothing_M = np.full(len(step_M), np.nan)
            timed(name, Projection(name, nothing_M, nothing_M, nothing_M, str(e)), None, start)
    start = perf_counter()
    timed("last value", last_value(early, len(step_M)), None, start)
    for law in laws:
        if not (law.needs_lr and run.lr_R is None):
            start = perf_counter()
            timed(law.name, project_law(law, early, step_M, lr_M, rng), None, start)
    return found


def scores(
    p: Projection, halves: tuple[np.ndarray, np.ndarray] | None, loss_M: np.ndarray, level: float = 0.9
) -> dict[str, object]:
    """A projection against what came: final loss, coverage, width, Winkler's interval score, CRPS.

    winkler = width + 2/(1 − level) · distance outside (Gneiting & Raftery 2007, doi:10.1198/016214506000001437). crps is
    twice the mean pinball loss at the quantiles .05, .25, .5, .75, .95, which approximates the integral over all.
    """
    final = float(loss_M[-1])
    if p.refused:
        absent = dict.fromkeys(("final_forecast", "final_low", "final_high", "final_error", "final_inside"), np.nan)
        missing = dict.fromkeys(("mae", "inside", "width", "winkler", "crps", "half_inside"), np.nan)
        return {"final_loss": final, **absent, **missing, "refused": p.refused}
    inside_M = (loss_M >= p.low_M) & (loss_M <= p.high_M)
    low50_M, high50_M = halves or (p.loss_M + HALF * (p.low_M - p.loss_M), p.loss_M + HALF * (p.high_M - p.loss_M))
    outside_M = np.maximum(p.low_M - loss_M, 0) + np.maximum(loss_M - p.high_M, 0)
    quantiles = zip((0.05, 0.25, 0.5, 0.75, 0.95), (p.low_M, low50_M, p.loss_M, high50_M, p.high_M), strict=True)
    pinball = [np.maximum(q * (loss_M - x_M), (q - 1) * (loss_M - x_M)).mean() for q, x_M in quantiles]
    return {
        "final_loss": final,
        "final_forecast": float(p.loss_M[-1]),
        "final_low": float(p.low_M[-1]),
        "final_high": float(p.high_M[-1]),
        "final_error": float(p.loss_M[-1] - final),
        "final_inside": float(inside_M[-1]),
        "mae": float(np.abs(p.loss_M - loss_M).mean()),
        "inside": float(inside_M.mean()),
        "width": float((p.high_M - p.low_M).mean()),
        "winkler": float((p.high_M - p.low_M + 2 / (1 - level) * outside_M).mean()),
        "crps": 2 * float(np.mean(pinball)),
        "refused": "",
        "half_inside": float(((loss_M >= low50_M) & (loss_M <= high50_M)).mean()),
    }


def ranking(scored: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """One row per fraction and law, best first: law, families, curves, final, low, high, median, mae, final_inside, …

    ``final`` is the mean over families of each family's median |final error|, with its 95 % interval over resampled families
    (curves of a family are no independent evidence). A refused forecast counts with the last value's error there, since that
    is what a user is left with; ``median``, ``mae``, coverage, width, winkler and crps are of the forecasts made.
    """
    keys = ["curve", "fraction"]
    last = scored[scored["law"] == "last value"].set_index(keys)["final_error"].abs()
    error = scored["final_error"].abs()
    error = error.fillna(pd.Series(last.reindex(pd.MultiIndex.from_frame(scored[keys])).to_numpy(), scored.index))
    scored = scored.assign(error=error)
    rng = np.random.default_rng(seed)
    rows = []
    for (fraction, law), frame in scored.groupby(["fraction", "law"]):
        family_F = frame.groupby("family")["error"].median().to_numpy()
        draws = rng.choice(family_F, (RESAMPLES, len(family_F))).mean(1)
        low, high = np.quantile(draws, [0.025, 0.975]) if len(family_F) > 1 else (np.nan, np.nan)
        about = {"fraction": fraction, "law": law, "families": len(family_F), "curves": len(frame)}
        means = frame[["mae", "final_inside", "inside", "half_inside", "width", "winkler", "crps", "seconds"]].mean()
        made = frame["final_error"].abs().median()
        refused = float((frame["refused"] != "").mean())
        rows.append(
            {**about, "final": family_F.mean(), "low": low, "high": high, "median": made, **means, "refused": refused}
        )
    return pd.DataFrame(rows).sort_values(["fraction", "final"], ignore_index=True)
