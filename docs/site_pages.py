"""A hook of MkDocs: the notebooks become pages, executed ones (build/notebooks, by make docs) with their outputs.

Also: diagrams of Mermaid are shown as their text, which names every box and arrow, since drawing them needs a script from
a server; and the examples in docstrings become blocks of code.
"""

import re
from pathlib import Path

import griffe
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
EXECUTED = ROOT / "build" / "notebooks"
NOT_EXECUTED = "\n\n*Shown without outputs; `make docs` executes it.*\n\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page and its pictures for each notebook."""
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        executed = EXECUTED / source.name
        book = nbformat.read(executed if executed.is_file() else source, as_version=4)
        text, resources = MarkdownExporter().from_notebook_node(book)
        if not executed.is_file():
            text = text.replace("\n\n", NOT_EXECUTED, 1)
        for name, content in resources["outputs"].items():
            picture = f"{source.stem}_{name}"
            text = text.replace(f"({name})", f"({picture})")
            files.append(File.generated(config, f"notebooks/{picture}", content=content))
        files.append(File.generated(config, f"notebooks/{source.stem}.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Diagrams as text."""
    return markdown.replace("```mermaid", "```text")


class Examples(griffe.Extension):
    """Doctests as blocks of code: Markdown would take their prompt for a quotation."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Fence the examples of a docstring."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    """A docstring whose doctests, each up to the next empty line, stand in fences."""
    return re.sub(r"(?m)^>>> (?:.+\n?)+", lambda m: f"\n```pycon\n{m[0].rstrip()}\n```\n", docstring)
