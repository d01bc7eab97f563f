"""Forecasts that runs froze on their way, beside what came: have they been honest?"""

from pathlib import Path

import pandas as pd
from scipy.stats import binomtest

from trajlab.analysis.forecasting.registered import read_frozen, state_of
from trajlab.analysis.load import Runs
from trajlab.analysis.report.section import Section


def section(runs: Runs) -> Section | None:
    """One row per frozen forecast of a finished run, and whether the bands held as many losses as they promise."""
    scored, problems = registered_table(runs)
    if scored.empty and not problems:
        return None
    part = Section("Registered forecasts")
    for problem in problems:
        part.problem(problem)
    if scored.empty:
        return part
    part.text(_judgement(scored))
    part.table(
        by_share(scored),
        "Errors (registered − observed, nats) by how much of the budget had been seen when the forecast was frozen.",
    )
    part.table(
        scored.drop(columns="share"),
        "Every registered forecast. It was frozen at its time and can't be rewritten; evidence: whether the losses that it "
        "rests on are still those of the run.",
        folded=True,
    )
    return part


def registered_table(runs: Runs) -> tuple[pd.DataFrame, list[str]]:
    """experiment, run, share, seen, made, registered, low, high, observed, error, inside, evidence; and what is wrong with files.

    Observed is the run's stored loss at the target, whatever a score beside the forecast says. A run that has not reached it
    is left out, with a word where it has ended.
    """
    rows, problems = [], []
    final = runs.intervals[runs.intervals["variant"] == "raw"] if len(runs.intervals) else pd.DataFrame()
    for manifest in runs.manifests:
        about = {"experiment": manifest["experiment"], "run": manifest["run"]}
        for path in sorted((Path(str(manifest.get("folder", ""))) / "registered").glob("at_*.json")):
            try:
                entry = read_frozen(path)
            except ValueError as e:
                problems.append(str(e))
                continue
            own = final[(final["experiment"] == manifest["experiment"]) & (final["run"] == manifest["run"])]
            own = own[own["split"] == entry.get("split")].sort_values("tokens")
            reached = own[own["tokens"] == entry["target"]]
            if len(reached):
                state = state_of(entry, own["tokens"], own["loss"])
                rows.append({**about, **_row(entry, float(reached["loss"].iloc[0])), "evidence": state})
                if state == "rewritten":
                    problems.append(f"{path} was edited after it was registered: its seal does not hold")
            elif manifest.get("status") == "finished":
                problems.append(
                    f"{path} is for an end at {entry['target']:g} tokens, where the finished run has no loss"
                )
    return pd.DataFrame(rows), problems


def _row(entry: dict[str, object], observed: float) -> dict[str, object]:
    shown = {key: entry.get(key) for key in ("share", "seen", "made", "registered", "low", "high")}
    low, high, value = (float(str(entry[key])) for key in ("low", "high", "registered"))
    return {**shown, "observed": observed, "error": value - observed, "inside": low <= observed <= high}


def by_share(scored: pd.DataFrame) -> pd.DataFrame:
    """seen, forecasts, median |error|, mean error, inside: one row per share of the budget."""
    rows = []
    for share, frame in scored.groupby("share"):
        off = {"median |error|": frame["error"].abs().median(), "mean error": frame["error"].mean()}
        rows.append({"seen": f"{share:.0%}", "forecasts": len(frame), **off, "inside": frame["inside"].mean()})
    return pd.DataFrame(rows)


def _judgement(scored: pd.DataFrame) -> str:
    """How many bands of 90 % held, and whether so few would be chance: one forecast a run, since a run's are not independent."""
    last = scored.sort_values("share").drop_duplicates(["experiment", "run"], keep="first")
    held, n = int(last["inside"].sum()), len(last)
    chance = binomtest(held, n, 0.9, alternative="less").pvalue
    words = f"{held} of {n} runs ended inside the 90 % band of their first registered forecast."
    if chance < 0.05:
        return f"{words} Honest bands hold so few with probability {chance:.2g}: distrust the forecasts of runs like these."
    return f"{words} Honest bands hold so few or fewer with probability {chance:.2g}: no sign that they are too narrow."
