"""A series of checkpoints in local folders."""

from collections.abc import Sequence
from pathlib import Path

from trajlab.checkpoints.audit.listing import Listing, folder_listing
from trajlab.checkpoints.sources.disk import checked_cache
from trajlab.checkpoints.sources.pattern import Pattern
from trajlab.checkpoints.sources.series import Checkpoint
from trajlab.errors import UserError


class FolderSeries:
    """Local folders in the format of transformers, e.g. ``opt-125m/step{step}``; they are never changed or removed."""

    def __init__(
        self, pattern: str, tokens_per_step: int, steps: Sequence[int | str] | None = None, cache: str = "keep"
    ) -> None:
        path = Path(pattern).expanduser()
        checked_cache(cache)
        self._root, self.steps = _fixed_part(path), steps
        self.pattern = Pattern(path.relative_to(self._root).as_posix(), tokens_per_step)

    @property
    def name(self) -> str:
        """The end of the pattern; where it lies on one machine is nobody else's concern."""
        return "folders:" + "/".join([*self._root.parts[-2:], self.pattern.text])

    def checkpoints(self) -> list[Checkpoint]:
        """The folders that fit the pattern. Raises UserError where there are none."""
        if not self._root.is_dir():
            raise UserError(f"model.series.pattern: there is no folder {self._root}")
        depth = self.pattern.text.count("/") + 1
        names = [p.relative_to(self._root).as_posix() for p in self._root.glob("/".join("*" * depth)) if p.is_dir()]
        return self.pattern.numbered(names, self.steps, str(self._root))

    def listing(self) -> Listing:
        """What lies in the folders, without reading weights."""
        depth = self.pattern.text.count("/") + 1
        names = [p.relative_to(self._root).as_posix() for p in self._root.glob("/".join("*" * depth)) if p.is_dir()]
        return folder_listing(self._root, [c.revision for c in self.checkpoints()], sorted(names))

    def fetch(self, checkpoint: Checkpoint) -> Path:
        """The folder itself."""
        folder = self._root / checkpoint.revision
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder} holds no config.json: it is no checkpoint in the format of transformers")
        return folder

    def release(self, checkpoint: Checkpoint) -> None:
        """Nothing: the folders are the user's."""


def _fixed_part(path: Path) -> Path:
    """The folders of a pattern before the one that holds a brace."""
    for number, part in enumerate(path.parts):
        if "{" in part:
            return Path(*path.parts[:number])
    raise UserError(f"model.series.pattern={str(path)!r} must hold {{step}} or {{tokens}}, once")
