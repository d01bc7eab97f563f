"""The page: what the template shows, put together from runs and sections. Nothing here is HTML; the template escapes."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from trajlab.analysis.conditions import Condition, conditions
from trajlab.analysis.figures.overview import conditions_figure, difference_figure, turn_figure
from trajlab.analysis.load import Runs
from trajlab.analysis.report.caveats import caveats, status_strip
from trajlab.analysis.report.comparison import BAND, Comparison, comparisons, setting
from trajlab.analysis.report.names import Unique, slug
from trajlab.analysis.report.section import Block, Section
from trajlab.analysis.report.summary import Tile, common_curves, is_it_real, sentences, tiles
from trajlab.analysis.report.svg import LARGEST, inline_svg, png_data, svg_file
from trajlab.analysis.report.tables import Column, columns, csv_data


@dataclass(frozen=True)
class ShownFigure:
    """A figure for the page: inline SVG, or a PNG where that would be too long."""

    name: str
    words: str
    alt: str
    svg: Markup | None
    png: str | None
    document: str
    """The SVG as a file of its own."""
    kind: str = "figure"


@dataclass(frozen=True)
class ShownTable:
    """A table for the page."""

    name: str
    words: str
    columns: list[Column]
    rows: int
    csv: str
    folded: bool = False
    kind: str = "table"


@dataclass
class Group:
    """Blocks of one condition, or of none."""

    name: str = ""
    title: str = ""
    blocks: list[object] = field(default_factory=list)


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


class Shown:
    """Makes figures and tables ready for the page, each with a name of its own."""

    def __init__(self) -> None:
        self.unique = Unique()

    def figure(self, figure: Figure, name: str, words: str, alt: str = "") -> ShownFigure:
        """Inline SVG with ids of its own."""
        name = self.unique(name)
        document = svg_file(figure)
        inline = inline_svg(document, f"f-{name}")
        short = len(inline) <= LARGEST
        # matplotlib escapes what it writes into an SVG; nothing else is put into the page unescaped
        return ShownFigure(
            name,
            words,
            alt or words or name,
            Markup(inline) if short else None,
            None if short else png_data(figure),
            document,
        )

    def table(self, frame: pd.DataFrame, words: str, name: str = "table", folded: bool = False) -> ShownTable:
        """Formatted columns and the whole table as CSV."""
        return ShownTable(self.unique(name), words, columns(frame), len(frame), csv_data(frame), folded)

    def block(self, block: Block, section: str) -> object:
        """A block of a section."""
        if block.figure is not None:
            figure = self.figure(block.figure, block.name, block.words, block.alt)
            block.name = figure.name  # Markdown names the same file
            return figure
        if block.frame is not None:
            return self.table(block.frame, block.words, f"{section}-table", block.folded)
        return block


def render(
    runs: Runs, settled: Runs, detailed: Runs, parts: list[Section], title: str, command: str, shown: Shown
) -> tuple[str, list[ShownFigure]]:
    """The page as one string of HTML, and its figures.

    ``settled`` are those of the runs that conditions are compared by, ``detailed`` those of them with answers of their own.
    """
    raw = list(conditions(detailed))
    compared = [_compared(c, shown) for c in comparisons(main_split(list(conditions(settled))))]
    answers = [a for a in (_answer(c, detailed, shown) for c in main_split(raw)) if a is not None]
    body = [_section(s, shown) for s in parts]
    environment = Environment(
        loader=PackageLoader("trajlab.analysis.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    source = environment.loader
    assert source is not None
    css, js = (Markup(source.get_source(environment, f"report.{kind}")[0]) for kind in ("css", "js"))
    contents = [("answer", "Answer"), *([("caveats", "Mind")] if caveats(runs) else [])]
    page = environment.get_template("report.html.j2").render(
        title=title,
        css=css,
        js=js,
        command=command,
        strip=status_strip(runs),
        problems=runs.problems,
        contents=[*contents, *((s["anchor"], s["title"]) for s in body)],
        caveats=caveats(runs),
        switch=[(slug(c.name), _named(c)) for c in raw],
        comparisons=compared,
        answers=answers,
        sections=body,
    )
    figures = [f for a in answers for f in (a.wide,)] + [f for c in compared for f in (c["wide"], c["apart"])]
    return page, figures + [b for s in body for g in s["groups"] for b in g.blocks if isinstance(b, ShownFigure)]


def main_split(found: list[Condition]) -> list[Condition]:
    """The conditions of each experiment's first split, ``valid`` where there is one."""
    splits: dict[str, set[str]] = {}
    for c in found:
        splits.setdefault(str(c.intervals["experiment"].iloc[0]), set()).add(str(c.intervals["split"].iloc[0]))
    chosen = {e: "valid" if "valid" in s else min(s) for e, s in splits.items()}
    return [c for c in found if c.intervals["split"].iloc[0] == chosen[str(c.intervals["experiment"].iloc[0])]]


def _named(condition: Condition) -> str:
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
    lines = sentences(curves, floor)
    options: dict[str, Any] = {"floor": floor, "caption": condition.caption}
    views: tuple[dict[str, Any], ...] = ({}, {"narrow": True}, {"log": True})
    words = "Each seed thin, the mean with its 95 % interval thick; circle: the lowest mean validation loss."
    wide, narrow, log = (
        shown.figure(turn_figure(condition.intervals, **options, **view), f"turn-{condition.name}", words, alt=lines[0])
        for view in views
    )
    return Answer(
        slug(condition.name),
        shown.unique(f"condition-{condition.name}"),
        _named(condition),
        condition.seeds,
        lines,
        tiles(curves),
        is_it_real(condition),
        wide,
        narrow,
        log,
    )


def _compared(c: Comparison, shown: Shown) -> dict[str, Any]:
    named = [(setting(k), k.intervals) for k in c.conditions]
    caption = c.conditions[0].caption
    alt = " ".join(c.sentences[:2])
    words = "Validation loss: each seed thin, each condition's mean with its 95 % interval thick."
    wide, narrow = (
        shown.figure(conditions_figure(named, caption=caption, narrow=n), f"conditions-{c.experiment}", words, alt=alt)
        for n in (False, True)
    )
    apart = difference_figure(c.differences, c.reference, caption=caption)
    final = c.differences.groupby("condition", sort=False).tail(1)
    return {
        "title": f"{c.experiment}: {len(c.conditions)} conditions",
        "sentences": c.sentences,
        "wide": wide,
        "narrow": narrow,
        "losses": shown.table(
            c.losses, "Mean losses over seeds, each condition apart; 95 % t intervals.", f"{c.experiment}-losses"
        ),
        "apart": shown.figure(apart, f"differences-{c.experiment}", f"Mean difference; band: {BAND}.", alt=alt),
        "differences": shown.table(
            c.differences if len(c.differences) <= 200 else final,
            f"Loss above {c.reference}, nats. Band: {BAND}.",
            f"{c.experiment}-differences",
        ),
    }


def _section(section: Section, shown: Shown) -> dict[str, Any]:
    groups = [Group()]
    for block in section.blocks:
        if block.kind == "condition":
            groups.append(Group(block.name, block.words))
        else:
            groups[-1].blocks.append(shown.block(block, slug(section.title)))
    kinds = [b.kind for b in section.blocks]
    counted = (
        (kinds.count(k), words) for k, words in (("figure", "figure"), ("table", "table"), ("problem", "problem"))
    )
    holds = ", ".join(f"{n} {words}{'s' if n != 1 else ''}" for n, words in counted if n)
    return {
        "title": section.title,
        "anchor": shown.unique(f"section-{section.title}"),
        "holds": holds,
        "groups": [g for g in groups if g.blocks or g.name],
    }
