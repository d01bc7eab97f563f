"""A task that needs no torch, for the tests of launchers: their workers import what it imports."""

from pathlib import Path

from omegaconf import DictConfig

from trajlab.config.launch import jobs_side_by_side


def work(config: DictConfig) -> None:
    """Leave a file that says how many jobs share eight cores; fail for one seed."""
    if config.seed == 1:
        raise ValueError(f"seed {config.seed} is no good")
    Path(config.runs_dir).mkdir(parents=True, exist_ok=True)
    (Path(config.runs_dir) / f"{config.seed}").write_text(str(jobs_side_by_side(8)))
