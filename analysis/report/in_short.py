"""What runs came to in sentences alone, for pages that hold no figures: the answers of the report, and claims by verdict."""

import re

import pandas as pd

from trajlab.analysis.checkpoint_series import series_experiments, series_frame
from trajlab.analysis.conditions import conditions
from trajlab.analysis.load import Runs
from trajlab.analysis.manifests import averages_lead
from trajlab.analysis.report.answers import main_split, named
from trajlab.analysis.report.comparison import comparisons
from trajlab.analysis.report.summary import averages_sentence, common_curves, sentences, series_sentences

VERDICTS = ("supported", "contradicted", "undecided", "not testable")
NAME = re.compile(r"[\w.%-]+")
"""A word in which texts may differ: no bracket and no comma, which belong to what stands beside them."""

MOST = 8
"""Claims of a verdict that are named; the table below names all."""


def in_short(runs: Runs) -> dict[str, list[str]]:
    """The sentences of the report's first screen by experiment: one whose conditions are held against each other as a whole,
    those that score weight averages first.
    """
    if not {"seed", "variant", "split", "tokens", "loss"} <= set(runs.intervals):
        return {}
    found = main_split(list(conditions(runs)))
    scored = runs.intervals.groupby("experiment")["variant"].nunique()
    told: dict[str, list[str]] = {}
    beside = {c.experiment: c.sentences for c in comparisons(found)}
    alone = [c for c in found if c.intervals["experiment"].iloc[0] not in beside]
    for condition in sorted(alone, key=lambda c: -int(scored[c.intervals["experiment"].iloc[0]] > 1)):
        split, experiment = (condition.intervals[c].iloc[0] for c in ("split", "experiment"))
        own = runs.intervals["run"].isin(condition.intervals["run"]) & (runs.intervals["experiment"] == experiment)
        if (curves := common_curves(condition.intervals)) is None:
            continue
        averages, turn = averages_sentence(runs.intervals[own & (runs.intervals["split"] == split)]), sentences(curves)
        leads = averages_lead([m for m in runs.manifests if m["experiment"] == experiment])
        told[named(condition)] = [s for s in ([averages, *turn] if leads else [*turn, averages]) if s]
    return (
        told | beside | {e: series_sentences(series_frame(runs.select(experiment=e))) for e in series_experiments(runs)}
    )


def by_verdict(claims: pd.DataFrame) -> list[str]:
    """A line for each verdict: how many claims have it, and which; ``claims`` as `trajlab.analysis.claims.check` gives them."""
    lines = []
    for verdict in VERDICTS:
        texts = claims.loc[claims["verdict"] == verdict, "claim"].astype(str).tolist()
        if texts:
            named = together([t.partition(": ")[0] for t in texts])
            more = f"; and {len(named) - MOST} more" if len(named) > MOST else ""
            lines.append(f"{verdict.capitalize()}, {len(texts)} of {len(claims)}: {'; '.join(named[:MOST])}{more}.")
    return lines


def together(texts: list[str]) -> list[str]:
    """Texts that differ in one word alone as one; single words share nothing.

    >>> together(["lawa5 is faster", "find 20% text", "ema0.99 is faster", "find 40% text", "seeds", "intervals"])
    ['is faster (lawa5, ema0.99)', 'find 20%, 40% text', 'seeds', 'intervals']
    """
    left, told = list(dict.fromkeys(texts)), []
    while left:
        words = left[0].split()
        places = [
            [
                t
                for t in left
                if len(words) > 1 and _but(t.split(), i) == _but(words, i) and NAME.fullmatch(t.split()[i])
            ]
            or left[:1]
            for i in range(len(words))
        ]
        same = max(places, key=len)
        place = places.index(same)
        other = ", ".join(t.split()[place] for t in same)
        before, after = " ".join(words[:place]), " ".join(words[place + 1 :])
        several = f"{before} {other} {after}".strip() if before else f"{after} ({other})"
        told.append(several if len(same) > 1 else left[0])
        left = [t for t in left if t not in same]
    return told


def _but(words: list[str], place: int) -> tuple[list[str], list[str]]:
    """The words before and after one."""
    return words[:place], words[place + 1 :]
