"""``task=compact``: the parts of finished runs are joined, so that a run isn't hundreds of small files."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from trajlab.config.parse import parse, refusals
from trajlab.config.schema import CompactConfig
from trajlab.errors import UserError
from trajlab.store import layout
from trajlab.store.compaction import compact as join_parts
from trajlab.store.renumber import finish_renumbering
from trajlab.store.run_store import RunStore
from trajlab.terminal import say


def compact(config: DictConfig) -> None:
    """Compact every finished run below ``runs``. Raises UserError that names the others, when those are done."""
    root = Path(parse(config, CompactConfig).runs)
    runs = list(layout.run_folders(root)) if root.is_dir() else []
    if not runs:
        raise UserError(f"runs={root}: no run is stored there; give a run's folder, an experiment's, or one above")
    problems = [p for run in runs for p in refusals(partial(_compact, run))]
    if problems:
        raise UserError(
            "\n".join([*problems, f"The other {len(runs) - len(problems)} of {len(runs)} runs are compact."])
        )


def _compact(run: Path) -> None:
    store = RunStore.open(run)
    with store.lock():
        finish_renumbering(run)
        if (status := (store.manifest() or {}).get("status")) != "finished":
            raise UserError(
                f"{run} is {status}, and what goes on writes parts; finish it first (the same command again)"
            )
        before, after = join_parts(run)
        say(f"{run}: {before} files of tables, now {after}" if after < before else f"{run}: compact already")
