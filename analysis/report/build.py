"""The report as Markdown, HTML and PNG figures: every section that the runs support, in the order of the contents."""

import html
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from trajlab.analysis.load import Runs
from trajlab.analysis.report.contents import sections
from trajlab.analysis.report.section import Block, Section


def write_report(runs: Runs, folder: Path | str, title: str) -> Path:
    """Write report.md, report.html and the figures into ``folder``; the path of report.html."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts = sections(runs)
    for block in (b for s in parts for b in s.blocks if b.figure):
        assert block.figure is not None
        block.figure.savefig(folder / f"{block.name}.png", bbox_inches="tight")
    (folder / "report.md").write_text(_render(title, runs.caption, parts, MARKDOWN))
    (folder / "report.html").write_text(
        _HTML_HEAD.format(title=html.escape(title)) + _render(title, runs.caption, parts, HTML)
    )
    return folder / "report.html"


def _render(title: str, caption: str, parts: list[Section], rules: dict[str, Callable[[Block], str]]) -> str:
    head = [rules["title"](Block("title", title)), rules["text"](Block("text", caption))]
    body = [rules[b.kind](b) for s in parts for b in [Block("section", s.title), *s.blocks]]
    return "\n".join([*head, *body]) + "\n"


def _numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as people read them: four significant digits, counts whole."""
    return frame.apply(lambda column: column.map(_number))


def _number(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    return (
        "–"
        if value is None or value is pd.NA
        else f"{value:,}"
        if isinstance(value, int) and abs(value) >= 10_000
        else str(value)
    )


def _markdown_table(block: Block) -> str:
    assert block.frame is not None
    return f"{block.words}\n\n{_numbers(block.frame).to_markdown(index=False, disable_numparse=True)}\n"


def _html_table(block: Block) -> str:
    assert block.frame is not None
    table = _numbers(block.frame).to_html(index=False, border=0)
    return f"<figure><figcaption>{html.escape(block.words)}</figcaption>{table}</figure>"


MARKDOWN: dict[str, Callable[[Block], str]] = {
    "title": lambda b: f"# {b.words}\n",
    "section": lambda b: f"## {b.words}\n",
    "text": lambda b: f"{b.words}\n",
    "table": _markdown_table,
    "figure": lambda b: f"![{b.words}]({b.name}.png)\n\n{b.words}\n",
}
HTML: dict[str, Callable[[Block], str]] = {
    "title": lambda b: f"<h1>{html.escape(b.words)}</h1>",
    "section": lambda b: f"<h2>{html.escape(b.words)}</h2>",
    "text": lambda b: f"<p>{html.escape(b.words)}</p>",
    "table": _html_table,
    "figure": lambda b: (
        f'<figure><img src="{b.name}.png" alt="{html.escape(b.words)}"><figcaption>{html.escape(b.words)}</figcaption></figure>'
    ),
}
_HTML_HEAD = """<!doctype html><meta charset="utf-8"><title>{title}</title><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
img{{max-width:100%}} figure{{margin:1.5rem 0;overflow-x:auto}} figcaption{{color:#555;font-size:.85rem}}
table{{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}}
th,td{{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd}} th{{border-bottom:2px solid #888}}
</style>
"""
