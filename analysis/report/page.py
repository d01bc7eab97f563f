"""The page: what the template shows, put together from runs and sections. Nothing here is HTML; the template escapes."""

import re
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trajlab.analysis.conditions import conditions
from trajlab.analysis.load import Runs
from trajlab.analysis.report.answers import (
    Answer,
    Broken,
    Compared,
    SeriesAnswer,
    answers,
    compared,
    in_words,
    main_split,
    named,
    series_answers,
)
from trajlab.analysis.report.caveats import status_strip
from trajlab.analysis.report.names import slug
from trajlab.analysis.report.section import Section
from trajlab.analysis.report.shown import Shown, ShownFigure


@dataclass
class Group:
    """Blocks of one condition, or of none."""

    name: str = ""
    title: str = ""
    blocks: list[object] = field(default_factory=list)


def render(
    runs: Runs,
    settled: Runs,
    detailed: Runs,
    parts: list[Section],
    title: str,
    command: str,
    shown: Shown,
    mind: list[str],
) -> tuple[str, list[ShownFigure], list[Section]]:
    """The page as one string of HTML, its figures, and its first screen as sections, for Markdown.

    ``settled`` are those of the runs that conditions are compared by, ``detailed`` those of them with answers of their own;
    ``mind`` are the caveats.
    """
    raw = list(conditions(detailed))
    held = compared(main_split(list(conditions(settled))), shown)
    told = answers(main_split(raw), detailed, shown)
    series = series_answers(settled, shown)
    leading = [a for a in told if held and isinstance(a, Answer) and a.leads]
    made: list[Answer | Compared | SeriesAnswer | Broken] = [
        *leading,
        *held,
        *(a for a in told if a not in leading),
        *series,
    ]
    body = [_section(s, shown) for s in parts]
    environment = Environment(
        loader=PackageLoader("trajlab.analysis.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    source = environment.loader
    assert source is not None
    css, js = (Markup(source.get_source(environment, f"report.{kind}")[0]) for kind in ("css", "js"))
    contents = [("answer", "Answer"), *([("caveats", "Mind")] if mind else [])]
    page = environment.get_template("report.html.j2").render(
        title=title,
        css=css,
        js=js,
        command=command,
        strip=status_strip(runs),
        problems=runs.problems,
        contents=[*contents, *((s["anchor"], s["title"]) for s in body)],
        caveats=mind,
        switch=[(slug(c.name), named(c)) for c in raw],
        broken=[b.words for b in (*held, *told, *series) if isinstance(b, Broken)],
        comparisons=[c for c in held if isinstance(c, Compared)],
        leading=leading,
        answers=[a for a in told if isinstance(a, Answer) and a not in leading],
        series=[a for a in series if isinstance(a, SeriesAnswer)],
        sections=body,
    )
    figures = [a.wide for a in (*told, *series) if isinstance(a, Answer | SeriesAnswer)]
    figures += [f for c in held if isinstance(c, Compared) for f in (c.wide, c.sweep, c.apart) if f is not None]
    page = re.sub(r"(?<=\d) %|(?<=\bp) (?=[<=>] )|(?<=\bp [<=>]) ", lambda m: m[0].replace(" ", "\u00a0"), page)
    figures += [b for s in body for g in s["groups"] for b in g.blocks if isinstance(b, ShownFigure)]
    return page, figures, [in_words(a) for a in made]


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
