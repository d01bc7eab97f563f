"""A series of checkpoints in a run of trajlab: its snapshots."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from trajlab.checkpoints.convert import WEIGHTS, run_tokenizer, write_folder
from trajlab.checkpoints.snapshots import snapshot_steps
from trajlab.checkpoints.sources.disk import checked_cache, on_disk
from trajlab.checkpoints.sources.pattern import expanded_steps
from trajlab.checkpoints.sources.series import Checkpoint
from trajlab.errors import UserError
from trajlab.files import publish, remove_folder, remove_leftovers, scratch_folder
from trajlab.store.layout import snapshot_path


class RunSeries:
    """The snapshots of a trajlab run, each written as a folder of transformers below ``cache_dir`` while it is needed."""

    def __init__(
        self,
        run: str,
        steps: Sequence[int | str] | None = None,
        cache: str = "evict",
        cache_dir: str = "~/.cache/trajlab",
        corpus: str | None = None,
    ) -> None:
        self.corpus = corpus
        """The class of a corpus of the user's own that the run was trained on."""
        self.run, self.steps, self.cache = Path(run), steps, checked_cache(cache)
        self._scratch = Path(cache_dir).expanduser() / "checkpoints" / "-".join(self.run.resolve().parts[-2:])

    @property
    def name(self) -> str:
        """The run's folder, its last two parts."""
        return "run:" + "/".join(self.run.resolve().parts[-2:])

    def checkpoints(self) -> list[Checkpoint]:
        """A checkpoint a snapshot. Raises UserError where there is none.

        What a killed evaluation left in the cache goes here: one that is finished brings no checkpoint any more.
        """
        self.tidy()
        found = {step: tokens for tokens, step in snapshot_steps(self.run)}
        if not found:
            raise UserError(
                f"model.series.run={self.run} has no snapshots; a run's folder holds snapshots/tokens=….safetensors"
            )
        wanted = expanded_steps(self.steps) if self.steps is not None else sorted(found)
        if missing := [s for s in wanted if s not in found]:
            raise UserError(
                f"{self.run} has no snapshot at step {missing[0]}; it has {sorted(found)}; change model.series.steps"
            )
        return [Checkpoint(i, s, found[s], snapshot_path(self.run, found[s]).stem) for i, s in enumerate(wanted)]

    def weights(self, checkpoint: Checkpoint) -> Path:
        """The snapshot itself: its tensors are read without writing a folder."""
        return self._snapshot(checkpoint)

    def fetch(self, checkpoint: Checkpoint) -> Path:
        """Model and tokenizer as a folder."""
        folder, snapshot = self._folder(checkpoint), self._snapshot(checkpoint)
        remove_leftovers(folder.parent)
        if not _is_whole(folder):
            encoder = run_tokenizer(self.run, [self.corpus])
            if folder.exists():
                remove_folder(folder)
            with on_disk(str(folder)):
                publish(folder, lambda temporary: write_folder(snapshot, temporary, encoder))
        return folder

    def release(self, checkpoint: Checkpoint) -> None:
        """Remove the folder; the snapshot stays."""
        if self.cache == "evict":
            remove_folder(self._folder(checkpoint))
            self.tidy()

    def tidy(self) -> None:
        """Remove what killed processes had written."""
        remove_leftovers(self._scratch)
        if self._scratch.is_dir() and not any(self._scratch.iterdir()):
            with suppress(OSError):  # another evaluation has just put something there
                self._scratch.rmdir()

    def _snapshot(self, checkpoint: Checkpoint) -> Path:
        return snapshot_path(self.run, checkpoint.tokens)

    def _folder(self, checkpoint: Checkpoint) -> Path:
        """A place that another run, or the same one trained anew, doesn't share.

        What is to be removed belongs to this process alone: another evaluation of the same run has a folder of its own.
        It is named as a temporary one, so that after a kill the next start removes it.
        """
        path = self._snapshot(checkpoint).resolve()
        key = hashlib.blake2b(f"{path}|{path.stat().st_mtime_ns}".encode(), digest_size=8).hexdigest()
        folder = self._scratch / f"{checkpoint.revision}-{key}"
        return scratch_folder(folder) if self.cache == "evict" else folder


def _is_whole(folder: Path) -> bool:
    """Whether nothing that `write_folder` writes is missing, as it may where somebody cleared a cache."""
    return all(
        (folder / name).is_file() for name in (WEIGHTS, "config.json", "tokenizer.json", "tokenizer_config.json")
    )
