"""The first screen: conditions held against each other, and an answer for each condition. Figures and tables ready to show."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from trajlab.analysis.checkpoint_series import series_experiments, series_frame
from trajlab.analysis.conditions import Condition
from trajlab.analysis.figures.conditions import TOLD_APART, conditions_figure, difference_figure, sweep_figure
from trajlab.analysis.figures.overview import turn_figure
from trajlab.analysis.figures.series import perplexity_curves
from trajlab.analysis.load import Runs
from trajlab.analysis.manifests import averages_lead
from trajlab.analysis.report.comparison import BAND, SAID, Comparison, comparisons, setting, swept_number
from trajlab.analysis.report.names import slug
from trajlab.analysis.report.section import Block, Section
from trajlab.analysis.report.shown import Shown, ShownFigure, ShownTable
from trajlab.analysis.report.summary import (
    Tile,
    averages_sentence,
    common_curves,
    is_it_real,
    sentences,
    series_sentences,
    tiles,
)


@dataclass(frozen=True)
class Answer:
    """The first screen of one condition."""

    name: str
    anchor: str
    title: str
    seeds: int
    sentences: list[str]
    tiles: list[Tile]
    real: str
    wide: ShownFigure
    narrow: ShownFigure
    log: ShownFigure
    leads: bool
    """Whether its runs score weight averages: then what they gained comes first, before controls held against each other."""


@dataclass(frozen=True)
class Compared:
    """The first screen of one experiment with several conditions."""

    title: str
    sentences: list[str]
    each: list[str]
    """A sentence for each pair, where the first screen sums them up."""
    wide: ShownFigure
    narrow: ShownFigure
    log: ShownFigure
    sweep: ShownFigure | None
    apart: ShownFigure | None
    losses: ShownTable
    pairs: ShownTable


@dataclass(frozen=True)
class SeriesAnswer:
    """The first screen of a series of published checkpoints."""

    title: str
    sentences: list[str]
    wide: ShownFigure


@dataclass(frozen=True)
class Broken:
    """What stands where an answer could not be made."""

    title: str
    words: str


def compared(found: list[Condition], shown: Shown) -> list[Compared | Broken]:
    """Each experiment's conditions held against the one that ended lowest; a box where that can't be done."""
    made = [_safe("Conditions", lambda: comparisons(found))]
    listed = made[0] if isinstance(made[0], list) else []
    built = [_safe(c.experiment, lambda c=c: _compared(c, shown)) for c in listed]  # type: ignore[misc]
    return [b for b in (*made, *built) if isinstance(b, Compared | Broken)]


def answers(found: list[Condition], runs: Runs, shown: Shown) -> list[Answer | Broken]:
    """An answer for each condition that has a curve; a box where it can't be made."""
    built = [_safe(named(c), lambda c=c: _answer(c, runs, shown)) for c in found]  # type: ignore[misc]
    return [b for b in built if b is not None]


def series_answers(runs: Runs, shown: Shown) -> list[SeriesAnswer | Broken]:
    """What each experiment that compares published models came to."""
    found = _safe("Checkpoint series", lambda: series_experiments(runs) if not runs.intervals.empty else [])
    if isinstance(found, Broken):
        return [found]
    return [_safe(e, lambda e=e: _series(runs.select(experiment=e), e, shown)) for e in found]  # type: ignore[misc]


def _series(runs: Runs, experiment: str, shown: Shown) -> SeriesAnswer:
    frame = series_frame(runs)
    words = series_sentences(frame)
    figure = perplexity_curves(frame, caption=runs.caption)
    drawn = shown.figure(figure, f"series-{experiment}", "Perplexity against FLOPs and tokens, by size.", alt=words[0])
    return SeriesAnswer(experiment, words, drawn)


def in_words(made: Answer | Compared | SeriesAnswer | Broken) -> Section:
    """An answer as a section of texts, for Markdown; its figure is named, for the file beside it."""
    part = Section(made.title)
    if isinstance(made, Broken):
        part.problem(made.words)
        return part
    for sentence in [*made.sentences, *(made.each if isinstance(made, Compared) else ())]:
        part.text(sentence)
    if isinstance(made, Answer):
        part.text("; ".join(f"{t.name}: {t.value} ({t.note})" for t in made.tiles) + ".")
        part.text(f"Is it real? {made.real}")
    part.blocks.append(Block("drawn", made.wide.words, name=made.wide.name, alt=made.wide.alt))
    return part


def _safe(title: str, make: Callable[[], Any]) -> Any:
    """What is made, or a box: one table that some program broke must not cost the page."""
    try:
        return make()
    except Exception as e:
        return Broken(title, f"{title}: the answer could not be made: {type(e).__name__}: {e}")


def main_split(found: list[Condition]) -> list[Condition]:
    """The conditions of each experiment's first split, ``valid`` where there is one."""
    splits: dict[str, set[str]] = {}
    for c in found:
        splits.setdefault(str(c.intervals["experiment"].iloc[0]), set()).add(str(c.intervals["split"].iloc[0]))
    chosen = {e: "valid" if "valid" in s else min(s) for e, s in splits.items()}
    return [c for c in found if c.intervals["split"].iloc[0] == chosen[str(c.intervals["experiment"].iloc[0])]]


def named(condition: Condition) -> str:
    """Experiment, and what was swept."""
    swept = setting(condition)
    experiment = str(condition.intervals["experiment"].iloc[0])
    return experiment if swept == "as configured" else f"{experiment}: {swept}"


def _answer(condition: Condition, runs: Runs, shown: Shown) -> Answer | None:
    curves = common_curves(condition.intervals)
    if curves is None:
        return None
    own = runs.select(experiment=str(condition.intervals["experiment"].iloc[0]))
    floor = own.entropy_floor(str(condition.intervals["split"].iloc[0]))
    here = own.intervals[
        own.intervals["run"].isin(condition.intervals["run"])
        & (own.intervals["split"] == condition.intervals["split"].iloc[0])
    ]
    gained, told = averages_sentence(here), sentences(curves, floor)
    leads = bool(gained) and averages_lead(own.manifests)
    lines = [s for s in ([gained, *told] if leads else [*told, gained]) if s]
    options: dict[str, Any] = {"floor": floor, "caption": condition.caption}
    views: tuple[dict[str, Any], ...] = ({}, {"narrow": True}, {"log": True})
    words = "Each seed thin, the mean with its 95 % interval thick; circle: the lowest mean validation loss."
    wide, narrow, log = (
        shown.figure(turn_figure(condition.intervals, **options, **view), f"turn-{condition.name}", words, alt=told[0])
        for view in views
    )
    anchor = shown.unique(f"condition-{condition.name}")
    real = is_it_real(condition)
    name = slug(condition.name)
    figures = (wide, narrow, log)
    return Answer(name, anchor, named(condition), condition.seeds, lines, tiles(curves), real, *figures, leads=leads)


def _compared(c: Comparison, shown: Shown) -> Compared:
    labels = short_names([setting(k) for k in c.conditions])
    drawn = [(label, k.intervals) for label, k in zip(labels, c.conditions, strict=True)]
    caption = _caption(c)
    alt = " ".join(c.sentences[:2])
    rest = "; of the others the means alone, grey" if len(drawn) > TOLD_APART else ""
    words = f"Validation loss: each seed thin, each condition's mean with its 95 % interval thick{rest}."
    views: tuple[dict[str, bool], ...] = ({}, {"narrow": True}, {"log": True})
    wide, narrow, log = (
        shown.figure(conditions_figure(drawn, caption=caption, **view), f"conditions-{c.experiment}", words, alt=alt)
        for view in views
    )
    return Compared(
        f"{c.experiment}: {len(c.conditions)} conditions",
        c.sentences,
        c.each if len(c.each) > SAID else [],
        wide,
        narrow,
        log,
        _sweep(c, caption, shown),
        _apart(c, dict(zip((setting(k) for k in c.conditions), labels, strict=True)), caption, alt, shown),
        shown.table(
            c.losses, "Mean losses over seeds, each condition apart; 95 % t intervals.", f"{c.experiment}-losses"
        ),
        shown.table(
            _readable(c.pairs),
            f"Each condition beside {c.reference}, which ended lowest; p: do the curves differ anywhere, for all conditions at "
            "once.",
            f"{c.experiment}-pairs",
        ),
    )


def _readable(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs.dropna(axis=1, how="all")


def _sweep(c: Comparison, caption: str, shown: Shown) -> ShownFigure | None:
    """Loss against the swept number, where there is one with at least three values."""
    swept = swept_number(c.conditions)
    if swept is None or len(swept[1]) < 3:
        return None
    key, values = swept
    best = c.losses.iloc[0]
    alt = f"The mean loss at the end is lowest, {best['final loss (nats)']:.3f} nats, at {c.reference}."
    figure = sweep_figure(key, values, c.losses, caption=caption)
    return shown.figure(
        figure, f"sweep-{c.experiment}", f"Loss by {key}: means with 95 % intervals over seeds.", alt=alt
    )


def _apart(c: Comparison, labels: dict[str, str], caption: str, alt: str, shown: Shown) -> ShownFigure | None:
    if c.differences.empty:
        return None
    named = c.differences.assign(condition=c.differences["condition"].map(labels))
    figure = difference_figure(named, labels[c.reference], caption=caption)
    return shown.figure(figure, f"differences-{c.experiment}", f"Mean difference; the band {BAND}.", alt=alt)


def _caption(c: Comparison) -> str:
    """The data, and all runs of all conditions."""
    runs = sum(k.seeds for k in c.conditions)
    return f"{c.conditions[0].caption.split(' · ')[0]} · {runs} runs"


def short_names(settings: list[str], longest: int = 22) -> list[str]:
    """Names that fit beside a curve: ``optimizer.lr=0.003`` → ``lr=0.003``; cut in the middle beyond ``longest`` characters.

    >>> short_names(["optimizer.lr=0.003", "optimizer.lr=0.01"]), short_names(["as configured", "a.x=1", "b.x=1"])
    (['lr=0.003', 'lr=0.01'], ['as configured', 'a.x=1', 'b.x=1'])
    """
    short = [
        ",".join(
            part.split("=")[0].split(".")[-1] + "=" + part.partition("=")[2] if "=" in part else part
            for part in s.split(",")
        )
        for s in settings
    ]
    chosen = short if len(set(short)) == len(short) else settings
    half = (longest - 1) // 2
    cut = [s if len(s) <= longest else f"{s[:half]}…{s[-half:]}" for s in chosen]
    return cut if len(set(cut)) == len(cut) else chosen
