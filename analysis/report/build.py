"""The report: one HTML page that needs nothing beside it, Markdown, and the figures as SVG files."""

import re
from pathlib import Path

from trajlab.analysis.checkpoint_series import scored_checkpoints
from trajlab.analysis.load import Runs, without_seed
from trajlab.analysis.report.caveats import caveats, diverged
from trajlab.analysis.report.contents import sections
from trajlab.analysis.report.page import render
from trajlab.analysis.report.section import Block, Section
from trajlab.analysis.report.shown import Shown
from trajlab.analysis.report.tables import markdown
from trajlab.analysis.whole_files import write_whole


def write_report(runs: Runs, folder: Path | str, title: str, *, command: str = "") -> Path:
    """Write report.html, report.md and ``figures/*.svg`` into ``folder``; the path of report.html.

    The page holds its figures itself and loads nothing. What can't be computed of these runs stands in a box in its place;
    diverged runs, and unfinished ones beside finished ones, are named and left out of the sections. ``command`` is shown.

    >>> from trajlab.analysis import load_runs
    >>> write_report(load_runs("runs/demo").select(seed=0), "reports/demo", "Demo").name
    'report.html'
    """
    folder = Path(folder)
    shown, runs = Shown(), scored_checkpoints(runs)
    kept = settled(runs)
    shown_in_full = detailed(kept)
    parts = sections(shown_in_full)
    mind = [*caveats(runs), *_left_out(len(kept.manifests) - len(shown_in_full.manifests))]
    page, figures, answer = render(runs, kept, shown_in_full, parts, title, command, shown, mind)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for figure in figures:
        write_whole(folder / "figures" / f"{figure.name}.svg", figure.document)
    write_whole(folder / "report.md", _markdown(title, runs, [*answer, *parts], mind))
    write_whole(folder / "report.html", page)
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


DETAILED, OF_MORE = 4, 2
"""Conditions of an experiment that the sections go into: up to four all of them, of more the two that ended lowest. All are
compared; the sections of a hundred would take minutes, and nobody would read them."""


def detailed(runs: Runs) -> Runs:
    """Of each experiment with more than `DETAILED` conditions the `OF_MORE` with the lowest final losses."""
    rows = runs.summary
    if "final_loss" not in rows:
        return runs
    rows = rows[rows["seed"].notna()].assign(setting=rows["run"].map(without_seed))
    final = rows.groupby(["experiment", "setting"])["final_loss"].mean()
    place = final.groupby("experiment").rank(method="first")
    most = place.groupby("experiment").transform("size").map(lambda n: DETAILED if n <= DETAILED else OF_MORE)
    gone = set(place[~(place <= most)].index)
    return (
        runs.without({(r.experiment, r.run) for r in rows.itertuples() if (r.experiment, r.setting) in gone})
        if gone
        else runs
    )


def _left_out(runs: int) -> list[str]:
    """A caveat where the sections don't go into all conditions."""
    if not runs:
        return []
    return [
        f"All conditions are compared; the answers and sections below go into the {OF_MORE} conditions with the lowest final "
        f"loss of each experiment. {runs:,} runs of other conditions are not in them: a report of their own folders is."
    ]


def _markdown(title: str, runs: Runs, parts: list[Section], mind: list[str]) -> str:
    lines = [f"# {_words(title)}\n", f"{_words(runs.caption)}\n"]
    lines += [f"> {_words(p)}\n" for p in [*runs.problems, *mind]]
    for part in parts:
        lines += [f"## {_words(part.title)}\n", *(_block(b) for b in part.blocks)]
    return "\n".join(lines) + "\n"


def _block(block: Block) -> str:
    if block.frame is not None:
        return f"{_words(block.words)}\n\n{_words(markdown(block.shown))}\n"
    if block.figure is not None or block.kind == "drawn":
        return f"![{_words(block.alt)}](figures/{block.name}.svg)\n\n{_words(block.words)}\n"
    return {"condition": "### {}\n", "problem": "> {}\n"}.get(block.kind, "{}\n").format(_words(block.words))


def _words(text: str) -> str:
    """Without what Markdown would take for HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", r"\\<", text)
