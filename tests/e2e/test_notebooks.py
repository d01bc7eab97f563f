"""Every notebook runs from top to bottom on the runs that it asks for."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from docs.execute_notebooks import runs_of
from tests.conftest import MICRO, ROOT, SERIES_MICRO, run_here

SHRUNK = [o for o in MICRO if not o.startswith(("experiment=", "intervals.", "schedule."))]
EXPERIMENTS = {
    "token_budget": ("tinystories_budget_small", [*MICRO[1:]]),
    "temporal_scaling": (
        "temporal_scaling_small",
        [*SHRUNK, "intervals.budget_tokens=3840", "intervals.every_tokens=128", "schedule.warmup_tokens=128",
         "data.validation.valid.stride=16", "data.validation.ood.windows=8", "callbacks.live_forecast.every=10"],
    ),
    "averaging": (
        "early_averaging_small",
        [*SHRUNK, *MICRO[-4:-1], "callbacks.checkpoint_averaging.averagers.swa.start=640",
         *(f"callbacks.checkpoint_averaging.averagers.{n}.every_tokens=64" for n in ("lawa5_4k", "lawa5_10k", "lawa5_20k"))],
    ),
    "checkpoint_series": ("checkpoint_series_small", SERIES_MICRO),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any folder of a checkout: here from one below, beside a notebooks/ and a runs/."""
    experiment, overrides = EXPERIMENTS[name]
    for seed in range(1 if name == "checkpoint_series" else 3):
        run_here(f"experiment={experiment}", *overrides, f"runs_dir={tmp_path / 'runs'}", f"seed={seed}")
    below = tmp_path / "notebooks" / "mine"
    below.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    NotebookClient(book, timeout=300, kernel_name="python3").execute(cwd=str(below))
    outputs = [o for cell in book.cells if cell.cell_type == "code" for o in cell.outputs]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 2
    assert any("text/html" in o.get("data", {}) for o in outputs)
    assert "Now with your own column" in book.cells[-2].source


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_notebook_is_stored_without_outputs_and_names_the_command_for_its_runs(name: str) -> None:
    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells)
    assert runs_of(book)[2:4] == ["trajlab", f"experiment={EXPERIMENTS[name][0]}"]
