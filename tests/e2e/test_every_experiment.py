"""Every experiment that ships is executed in miniature: its own callbacks, schedule and splits, a few steps."""

from pathlib import Path

import pytest

from tests.conftest import MICRO, ROOT, SERIES_MICRO, run_here
from tests.series_material import write_series
from trajlab.analysis import load_runs

EXPERIMENTS = sorted(p.stem for p in (ROOT / "conf" / "experiment").glob("*.yaml"))
TRAINED = [*MICRO[1:], "trainer.threads=1", "intervals.budget_tokens=640", "intervals.every_tokens=320"]
"""Ten steps, three intervals."""
AVERAGED = "callbacks.checkpoint_averaging.averagers"
ITS_OWN = {
    "early_averaging": [f"{AVERAGED}.swa.start=320", f"{AVERAGED}.swa.every_tokens=64"],
    "early_averaging_small": [f"{AVERAGED}.swa.start=320", f"{AVERAGED}.swa.every_tokens=64"],
    "early_averaging_spike_small": [
        f"{AVERAGED}.swa.start=320", f"{AVERAGED}.swa.every_tokens=64", "callbacks.disturbance.start_step=4",
        "callbacks.disturbance.steps=2",
    ],
    "temporal_scaling": ["callbacks.position_blocks.blocks=4", "data.validation.ood.windows=8"],
    "temporal_scaling_small": ["callbacks.position_blocks.blocks=4", "data.validation.ood.windows=8"],
}  # fmt: skip
EVALUATED = [
    "data.source=embedded", "evaluation.documents=2", "evaluation.context=32", "evaluation.stride=32",
    "+measures.sequences.documents=2", "+measures.sequences.length=16", "trainer.threads=1",
]  # fmt: skip
PUBLISHED = {"opt_trajectory": "opt", "pythia_trajectory": "gpt_neox"}


def miniature(experiment: str, folder: Path) -> list[str]:
    """What makes an experiment small."""
    if experiment == "checkpoint_series_small":
        return SERIES_MICRO
    if experiment in PUBLISHED:
        write_series(folder / "published", [0, 2], PUBLISHED[experiment])
        of = ["series=hf_folders", "model.name=tiny"] if experiment == "pythia_trajectory" else []
        pattern = f"model.series.pattern='{folder / 'published' / 'step{step}'}'"
        return [*EVALUATED, *of, pattern, "model.series.tokens_per_step=64"]
    return [*TRAINED, *ITS_OWN.get(experiment, [])]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_it_runs(experiment: str, tmp_path: Path) -> None:
    run_here(f"experiment={experiment}", f"runs_dir={tmp_path / 'runs'}", *miniature(experiment, tmp_path))
    runs = load_runs(tmp_path / "runs" / experiment)
    assert runs.manifests
    assert all(m["status"] == "finished" for m in runs.manifests)
    assert runs.intervals["loss"].notna().all()
