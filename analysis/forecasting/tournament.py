"""The contest on curve files: every law × curve × fraction seen, scored on strictly later losses (`run_contest`, `ranking`).

Shapes: R rows of a run, K seen, M later. Losses in nats.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from trajlab.analysis.curve_laws import Law
from trajlab.analysis.forecasting.baselines import MeanLoss, baselines, last_value, project_law
from trajlab.analysis.forecasting.default import Tables, outlook, shipped
from trajlab.analysis.forecasting.kept import Kept, code_of, code_of_default
from trajlab.analysis.forecasting.projection import Projection, refusal
from trajlab.analysis.forecasting.rebuild import FEWEST_SEEN, FRACTIONS, Archive, Run
from trajlab.analysis.forecasting.scoring import scores

COLUMNS = [
    *("curve", "family", "law", "fraction", "n_seen", "final_loss", "final_forecast", "final_low", "final_high"),
    *("final_error", "final_inside", "mae", "inside", "width", "winkler", "crps", "refused", "seconds"),
]
"""Of `scores.parquet`; errors are forecast − loss, width and the scores are means over later points, nats."""
EXTRA = ["half_inside", "situation"]
"""50 % coverage over later points; and what lies ahead: ``decay``, ``decaying``, ``steady``, ``unknown``."""
RESAMPLES = 2000

Forecaster = Callable[[], tuple[Projection, tuple[np.ndarray, np.ndarray] | None]]


@dataclass(frozen=True)
class Contest:
    """What every curve meets."""

    fractions: tuple[float, ...]
    laws: tuple[type[Law], ...]
    keep: Path | None = None
    """A folder in which scores are kept; a contest that was killed goes on from there."""


def run_contest(
    curves: pd.DataFrame,
    fractions: Sequence[float] = FRACTIONS,
    laws: Sequence[type[Law]] | None = None,
    archive: Archive | None = None,
    *,
    keep: Path | None = None,
    jobs: int = 1,
) -> pd.DataFrame:
    """One row per curve × fraction × law with `COLUMNS` and `EXTRA`.

    ``laws`` beside ``default``, ``response`` (the default without rivals) and ``last value``: by default those whose fit takes
    less than seconds. With an ``archive`` of these curves each family's forecasts rest on the other families alone; without,
    on the numbers shipped. A fraction at which a curve has fewer than 8 losses is left out. ``jobs`` processes share the curves.
    """
    contest = Contest(tuple(fractions), baselines(costly=False) if laws is None else tuple(laws), keep)
    runs = [Run.of(str(name), frame) for name, frame in curves.dropna(subset=["loss"]).groupby("curve", sort=True)]
    runs = [run for run in runs if any(_enough(run, fraction) for fraction in fractions)]
    if not runs:
        raise ValueError(f"no curve has {FEWEST_SEEN} losses at any of the fractions {', '.join(map(str, fractions))}")
    families = sorted({run.family for run in runs})
    tables = {family: shipped() if archive is None else archive.tables(without=family) for family in families}
    one = partial(_one_curve, contest)
    given = [tables[run.family] for run in runs]
    if jobs > 1:
        with ProcessPoolExecutor(jobs) as pool:
            rows = [row for part in pool.map(one, runs, given) for row in part]
    else:
        rows = [row for run, own in zip(runs, given, strict=True) for row in one(run, own)]
    return pd.DataFrame(rows)[[*COLUMNS, *EXTRA]]


def _enough(run: Run, fraction: float) -> bool:
    return FEWEST_SEEN <= run.seen(fraction) < len(run.step_R)


def _one_curve(contest: Contest, run: Run, tables: Tables) -> list[dict[str, object]]:
    """All laws at all fractions; what is kept is not computed again."""
    kept, rows = Kept(contest.keep, run), []
    for fraction in contest.fractions:
        if not _enough(run, fraction):
            continue
        seen = run.seen(fraction)
        about = {"curve": run.name, "family": run.family, "fraction": fraction, "n_seen": seen}
        about["situation"] = run.situation(seen)
        for name, code, project in entrants(run, seen, contest.laws, tables):
            row = kept.get(f"{name} {fraction:g} {code}", partial(_timed, name, project, run.loss_R[seen:]))
            rows.append({**row, **about})
    kept.write()
    return rows


def _timed(name: str, project: Forecaster, loss_M: np.ndarray) -> dict[str, object]:
    start = perf_counter()
    projection, halves = project()
    return {"law": name, "seconds": perf_counter() - start, **scores(projection, halves, loss_M)}


def entrants(run: Run, seen: int, laws: Sequence[type[Law]], tables: Tables) -> list[tuple[str, str, Forecaster]]:
    """Who forecasts the rest of a run: a name, a digest of what the forecast depends on, and the forecast."""
    step_M = run.step_R[seen:]
    lr_K, lr_M = (None, None) if run.lr_R is None else (run.lr_R[:seen], run.lr_R[seen:])
    early = MeanLoss.of(run.step_R[:seen], run.loss_R[:seen], lr_K)

    def own(name: str, rivals: bool) -> tuple[Projection, tuple[np.ndarray, np.ndarray] | None]:
        try:
            o = outlook(run.step_R[:seen], run.loss_R[:seen], step_M, run.lr_R, tables, rivals=rivals)
        except ValueError as e:
            return refusal(name, len(step_M), str(e)), None
        return Projection(name, o.loss_M, *o.band()), o.band(0.5)

    def fitted(law: type[Law]) -> tuple[Projection, None]:
        return project_law(law, early, step_M, lr_M, np.random.default_rng(0)), None

    code = f"{code_of_default()} {tables.digest}"
    found: list[tuple[str, str, Forecaster]] = [
        ("default", code, partial(own, "default", True)),
        ("response", code, partial(own, "response", False)),
        ("last value", "1", lambda: (last_value(early, len(step_M)), None)),
    ]
    allowed = [law for law in laws if not (law.needs_lr and run.lr_R is None)]
    return [*found, *((law.name, code_of(law), partial(fitted, law)) for law in allowed)]


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


def sample(curves: pd.DataFrame, number: int, seed: int = 0) -> pd.DataFrame:
    """The rows of ``number`` curves, drawn from the families in turn so that a large one doesn't crowd out the others."""
    rng = np.random.default_rng(seed)
    names = curves.drop_duplicates("curve")[["family", "curve"]].sort_values(["family", "curve"])
    names = names.iloc[rng.permutation(len(names))]
    turn = names.groupby("family").cumcount()
    chosen = names.assign(turn=turn).sort_values("turn", kind="stable")["curve"].iloc[:number]
    return curves[curves["curve"].isin(set(chosen))]
