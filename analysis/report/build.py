"""The report: one HTML page that needs nothing beside it, Markdown, and the figures as SVG files."""

import re
from pathlib import Path

from trajlab.analysis.load import Runs, without_seed
from trajlab.analysis.report.caveats import caveats, diverged
from trajlab.analysis.report.contents import sections
from trajlab.analysis.report.page import Shown, render
from trajlab.analysis.report.section import Block, Section
from trajlab.analysis.report.tables import markdown


def write_report(runs: Runs, folder: Path | str, title: str, *, command: str = "") -> Path:
    """Write report.html, report.md and ``figures/*.svg`` into ``folder``; the path of report.html.

    The page holds its figures itself and loads nothing. What can't be computed of these runs stands in a box in its place;
    diverged runs, and unfinished ones beside finished ones, are named and left out of the sections. ``command`` is shown.

    >>> from trajlab.analysis import load_runs
    >>> write_report(load_runs("runs/demo").select(seed=0), "reports/demo", "Demo").name
    'report.html'
    """
    folder = Path(folder)
    shown = Shown()
    kept = settled(runs)
    shown_in_full = detailed(kept)
    parts = sections(shown_in_full)
    if left := len(kept.manifests) - len(shown_in_full.manifests):
        parts.insert(0, _left_out(left))
    page, figures = render(runs, kept, shown_in_full, parts, title, command, shown)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for figure in figures:
        (folder / "figures" / f"{figure.name}.svg").write_text(figure.document, encoding="utf-8")
    (folder / "report.md").write_text(_markdown(title, runs, parts), encoding="utf-8")
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder / "report.html"


def settled(runs: Runs) -> Runs:
    """Without diverged runs, and without unfinished ones where their condition has finished ones."""
    ended = {
        (m.get("experiment"), without_seed(str(m.get("run")))) for m in runs.manifests if m.get("status") != "running"
    }
    gone = set(diverged(runs))
    gone |= {
        (str(m.get("experiment")), str(m.get("run")))
        for m in runs.manifests
        if m.get("status") == "running" and (m.get("experiment"), without_seed(str(m.get("run")))) in ended
    }
    return runs.without(gone) if gone else runs


DETAILED = 4
"""Conditions of an experiment that the sections go into. All are compared; the sections of a hundred would take minutes and
nobody would read them."""


def detailed(runs: Runs, most: int = DETAILED) -> Runs:
    """Of each experiment with more conditions than ``most`` those with the lowest final losses."""
    rows = runs.summary
    if "final_loss" not in rows:
        return runs
    rows = rows[rows["seed"].notna()].assign(setting=rows["run"].map(without_seed))
    final = rows.groupby(["experiment", "setting"])["final_loss"].mean()
    place = final.groupby("experiment").rank(method="first")
    gone = set(place[~(place <= most)].index)
    return (
        runs.without({(r.experiment, r.run) for r in rows.itertuples() if (r.experiment, r.setting) in gone})
        if gone
        else runs
    )


def _left_out(runs: int) -> Section:
    part = Section("What is not below")
    part.text(
        f"All conditions are compared above. The sections below go into the {DETAILED} conditions with the lowest final loss of "
        f"each experiment; {runs:,} runs of other conditions are not in them. For those, make a report of their own folders."
    )
    return part


def _markdown(title: str, runs: Runs, parts: list[Section]) -> str:
    lines = [f"# {_words(title)}\n", f"{_words(runs.caption)}\n"]
    lines += [f"> {_words(p)}\n" for p in [*runs.problems, *caveats(runs)]]
    for part in parts:
        lines += [f"## {_words(part.title)}\n", *(_block(b) for b in part.blocks)]
    return "\n".join(lines) + "\n"


def _block(block: Block) -> str:
    if block.frame is not None:
        return f"{_words(block.words)}\n\n{_words(markdown(block.frame))}\n"
    if block.figure is not None:
        return f"![{_words(block.alt)}](figures/{block.name}.svg)\n\n{_words(block.words)}\n"
    return {"condition": "### {}\n", "problem": "> {}\n"}.get(block.kind, "{}\n").format(_words(block.words))


def _words(text: str) -> str:
    """Without what Markdown would take for HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", r"\\<", text)
