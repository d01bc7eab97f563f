"""Executes notebooks/ into build/notebooks, with the runs that each asks for: a quarter of an hour on two cores, once.

python -m docs.execute_notebooks build/notebooks
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent


def runs_of(book: NotebookNode) -> list[str]:
    """The command in a notebook's first cell that makes its runs. Raises ValueError where there is none."""
    if found := re.search(r"`(python -m trajlab [^`]+)`", book.cells[0].source):
        return shlex.split(found[1])
    raise ValueError("the first cell names no `python -m trajlab …` that makes the runs")


def main(folder: str) -> None:
    """Finished runs are skipped, so a second call executes the notebooks alone."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        book = nbformat.read(source, as_version=4)
        subprocess.run([sys.executable, *runs_of(book)[1:]], check=True, cwd=ROOT)
        NotebookClient(book, timeout=600, kernel_name="python3").execute(cwd=str(ROOT))
        nbformat.write(book, out / source.name)
        print(out / source.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
