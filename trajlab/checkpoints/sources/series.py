"""Series of checkpoints: what a training run left behind, wherever it lies.

A `CheckpointSeries` lists its checkpoints in order and brings each one as a folder that transformers opens.
`HubSeries` takes them from the revisions of a hub repository, `FolderSeries` from local folders, `RunSeries` from the
snapshots of a trajlab run. `prefetched` brings the next one while the present one is used and gives back what
``cache=evict`` doesn't want to keep, so that at most two lie on the disk at once.
"""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from trajlab.errors import UserError
from trajlab.files import publish
from trajlab.protocols import Interval

CACHES = ("keep", "evict")
FIELDS = ("step", "tokens")
WANTED = ("*.json", "*.txt", "*.model", "*.jinja")
"""Files beside the weights: configuration and tokenizer."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a series."""

    index: int
    """Its place in the series, from 0."""
    step: int
    """Optimizer steps done."""
    tokens: int
    """Tokens seen."""
    revision: str
    """Its name at the source: a revision, a folder, a snapshot."""

    @property
    def interval(self) -> Interval:
        """The same as an interval of a run."""
        return Interval(self.index, self.tokens, self.tokens, self.step)


class CheckpointSeries(Protocol):
    """Checkpoints in the order of training."""

    @property
    def name(self) -> str:
        """What it is and where it is found, for people and for the manifest."""
        ...

    def checkpoints(self) -> list[Checkpoint]:
        """All of them. Raises UserError where they can't be listed."""
        ...

    def fetch(self, checkpoint: Checkpoint) -> Path:
        """A folder in the format of transformers. Raises UserError where it can't be had."""
        ...

    def release(self, checkpoint: Checkpoint) -> None:
        """It is no longer needed; a series may free the disk."""
        ...


def prefetched(series: CheckpointSeries, wanted: Sequence[Checkpoint]) -> Generator[tuple[Checkpoint, Path]]:
    """Each checkpoint with its folder, the next one being brought meanwhile.

    A checkpoint that can't be brought raises when its turn comes, after the earlier ones have been used.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        coming: Future[Path] | None = None
        for number, checkpoint in enumerate(wanted):
            folder = (coming or executor.submit(series.fetch, checkpoint)).result()
            following = wanted[number + 1] if number + 1 < len(wanted) else None
            coming = executor.submit(series.fetch, following) if following else None
            yield checkpoint, folder
            series.release(checkpoint)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


# ---- which checkpoints


class Pattern:
    """A name with ``{step}`` or ``{tokens}`` in it, e.g. ``step{step}``; both ways.

    Raises UserError unless exactly one of the two is there.
    """

    def __init__(self, text: str, tokens_per_step: int) -> None:
        found = [f for f in FIELDS if f"{{{f}}}" in text]
        if len(found) != 1 or text.count("{") != 1:
            raise UserError(f"model.series.pattern={text!r} must hold {{step}} or {{tokens}}, once")
        if tokens_per_step < 1:
            raise UserError(f"model.series.tokens_per_step={tokens_per_step} must be at least 1")
        self.text, self.field, self.tokens_per_step = text, found[0], tokens_per_step
        before, after = text.split(f"{{{self.field}}}")
        self._regex = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))

    def number(self, name: str) -> int | None:
        """The step or the tokens in a name; None where it is another name."""
        match = self._regex.fullmatch(name)
        return int(match[1]) if match else None

    def numbered(self, names: Sequence[str], steps: Sequence[int | str] | None, where: str) -> list[Checkpoint]:
        """The checkpoints of these names in order, or those of ``steps`` alone.

        Raises UserError where there is none, and where one that is asked for is missing.
        """
        by_number = {n: name for name in names if (n := self.number(name)) is not None}
        if not by_number:
            raise UserError(f"{where} has nothing that looks like {self.text!r}; set model.series.pattern")
        wanted = expanded_steps(steps) if steps is not None else sorted(by_number)
        if missing := [n for n in wanted if n not in by_number]:
            nearest = sorted(by_number, key=lambda n: (abs(n - missing[0]), n))[:4]
            raise UserError(
                f"{where} has no checkpoint {self.text.replace(f'{{{self.field}}}', str(missing[0]))!r}"
                + (f" ({len(missing)} are missing)" if len(missing) > 1 else "")
                + f"; the nearest are {', '.join(by_number[n] for n in sorted(nearest))}; change model.series.steps"
            )
        return [self._checkpoint(i, n, by_number[n]) for i, n in enumerate(wanted)]

    def listed(self, steps: Sequence[int | str]) -> list[Checkpoint]:
        """The checkpoints of ``steps``, taken on trust."""
        name = self.text.replace(f"{{{self.field}}}", "{}")
        return [self._checkpoint(i, n, name.format(n)) for i, n in enumerate(expanded_steps(steps))]

    def _checkpoint(self, index: int, number: int, name: str) -> Checkpoint:
        if self.field == "step":
            return Checkpoint(index, number, number * self.tokens_per_step, name)
        return Checkpoint(index, number // self.tokens_per_step, number, name)


SPAN = re.compile(r"(\d+)\.\.(\d+)(?::(\d+))?")


def expanded_steps(steps: Sequence[int | str]) -> list[int]:
    """``[0, 1, "1000..3000:1000"]`` → 0, 1, 1000, 2000, 3000. Raises UserError for what can't be read or goes back."""
    numbers: list[int] = []
    for item in steps:
        match = SPAN.fullmatch(str(item))
        if match:
            numbers += range(int(match[1]), int(match[2]) + 1, int(match[3] or 1))
        elif str(item).isdigit():
            numbers.append(int(item))
        else:
            raise UserError(f"model.series.steps: {item!r} is no step; write 1000 or '1000..143000:1000'")
    if not numbers or any(b <= a for a, b in pairwise(numbers)):
        raise UserError(f"model.series.steps must name steps that increase, got {list(steps)}")
    return numbers


# ---- hub


class HubSeries:
    """Revisions of a repository on the Hugging Face hub, e.g. ``EleutherAI/pythia-160m`` with ``step{step}``.

    With ``cache=keep`` checkpoints lie in huggingface_hub's own cache, where other programs find them; with ``evict``
    each lies below ``cache_dir`` until it is done, unless that cache has it already. Code files are left where they are
    unless ``remote_code``.
    """

    def __init__(
        self, repo: str, pattern: str = "step{step}", tokens_per_step: int = 2_097_152,
        steps: Sequence[int | str] | None = None, cache: str = "keep", cache_dir: str = "~/.cache/trajlab",
        remote_code: bool = False,
    ) -> None:  # fmt: skip
        self.repo, self.steps, self.cache, self.remote_code = repo, steps, _cache(cache), remote_code
        self.pattern = Pattern(pattern, tokens_per_step)
        self._scratch = Path(cache_dir).expanduser() / "checkpoints" / repo.replace("/", "--")

    @property
    def name(self) -> str:
        """The repository and its pattern."""
        return f"hub:{self.repo}@{self.pattern.text}"

    def checkpoints(self) -> list[Checkpoint]:
        """Those of ``steps`` without asking, or the repository's branches that fit the pattern."""
        if self.steps is not None:
            return self.pattern.listed(self.steps)
        from huggingface_hub import HfApi

        with _explained(self.repo, None):
            refs = HfApi().list_repo_refs(self.repo)
        return self.pattern.numbered([r.name for r in [*refs.branches, *refs.tags]], None, self.repo)

    def fetch(self, checkpoint: Checkpoint) -> Path:
        """Configuration, tokenizer and weights of one revision; safetensors alone where the repository has it."""
        with _explained(self.repo, checkpoint.revision):
            if cached := self._cached(checkpoint):
                return cached
            beside = [*WANTED, *(["*.py"] if self.remote_code else [])]
            folder = self._download(checkpoint, [*beside, "*.safetensors"])
            if not any(folder.glob("*.safetensors")):
                folder = self._download(checkpoint, [*beside, "pytorch_model*.bin"])
            return folder

    def _cached(self, checkpoint: Checkpoint) -> Path | None:
        """Where huggingface_hub's cache has the revision with its weights already."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(self.repo, revision=checkpoint.revision, local_files_only=True))
        except LocalEntryNotFoundError:
            return None
        whole = (folder / "config.json").is_file() and _has_weights(folder)
        return folder if whole else None

    def _download(self, checkpoint: Checkpoint, patterns: list[str]) -> Path:
        from huggingface_hub import snapshot_download

        place = str(self._scratch / checkpoint.revision) if self.cache == "evict" else None
        return Path(
            snapshot_download(self.repo, revision=checkpoint.revision, allow_patterns=patterns, local_dir=place)
        )

    def release(self, checkpoint: Checkpoint) -> None:
        """Remove it if it lies in the scratch folder."""
        if self.cache == "evict":
            shutil.rmtree(self._scratch / checkpoint.revision, ignore_errors=True)


def _has_weights(folder: Path) -> bool:
    from trajlab.checkpoints.weights import weight_files

    try:
        return bool(weight_files(folder))
    except UserError:
        return False


@contextmanager
def _explained(repo: str, revision: str | None) -> Iterator[None]:
    """The hub's errors as messages that say what to do."""
    from huggingface_hub import errors

    what = f"{repo}@{revision}" if revision else repo
    try:
        yield
    except errors.RevisionNotFoundError as e:
        raise UserError(
            f"{repo} has no revision {revision!r}; change model.series.steps or model.series.pattern "
            "(model.series.steps=null takes every revision that is there)"
        ) from e
    except errors.RepositoryNotFoundError as e:  # gated ones too
        raise UserError(
            f"the hub shows no repository {repo} to you; check model.series.repo, or log in (hf auth login)"
        ) from e
    except OSError as e:  # the hub's connection errors are OSErrors too
        if e.errno == errno.ENOSPC:
            raise _disk_full(what) from e
        raise _no_network(what, e) from e
    except (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, RuntimeError) as e:
        raise _no_network(what, e) from e


def _disk_full(what: str) -> UserError:
    return UserError(
        f"{what}: the disk is full; free some, write model.series.cache=evict (two checkpoints on the disk at most), or "
        "put HF_HUB_CACHE or data.cache_dir on a larger one. The same command goes on with the checkpoint it stopped at"
    )


def _no_network(what: str, error: Exception) -> UserError:
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    why = "HF_HUB_OFFLINE is set" if offline else f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return UserError(
        f"{what} can't be fetched ({why}) and isn't in the local cache; the same command goes on from there once the hub "
        "answers. Local folders work without it: model.series._target_=trajlab.checkpoints.sources.FolderSeries"
    )


# ---- local folders


class FolderSeries:
    """Local folders in the format of transformers, e.g. ``opt-125m/step{step}``; they are never changed or removed."""

    def __init__(
        self, pattern: str, tokens_per_step: int, steps: Sequence[int | str] | None = None, cache: str = "keep"
    ) -> None:
        path = Path(pattern).expanduser()
        _cache(cache)
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


# ---- a run of trajlab


class RunSeries:
    """The snapshots of a trajlab run, each written as a folder of transformers below ``cache_dir`` while it is needed."""

    def __init__(
        self, run: str, steps: Sequence[int | str] | None = None, cache: str = "evict",
        cache_dir: str = "~/.cache/trajlab",
    ) -> None:  # fmt: skip
        self.run, self.steps, self.cache = Path(run), steps, _cache(cache)
        self._scratch = Path(cache_dir).expanduser() / "checkpoints" / "-".join(self.run.resolve().parts[-2:])

    @property
    def name(self) -> str:
        """The run's folder, its last two parts."""
        return "run:" + "/".join(self.run.resolve().parts[-2:])

    def checkpoints(self) -> list[Checkpoint]:
        """A checkpoint a snapshot. Raises UserError where there is none."""
        from trajlab.checkpoints.convert import snapshot_steps

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
        return [Checkpoint(i, s, found[s], f"tokens={found[s]:012d}") for i, s in enumerate(wanted)]

    def fetch(self, checkpoint: Checkpoint) -> Path:
        """Model and tokenizer as a folder."""
        from trajlab.checkpoints.convert import run_tokenizer, write_folder

        folder, snapshot = self._folder(checkpoint), self._snapshot(checkpoint)
        if not folder.is_dir():
            encoder = run_tokenizer(self.run)
            with on_disk(str(folder)):
                publish(folder, lambda temporary: write_folder(snapshot, temporary, encoder))
        return folder

    def release(self, checkpoint: Checkpoint) -> None:
        """Remove the folder; the snapshot stays."""
        if self.cache == "evict":
            shutil.rmtree(self._folder(checkpoint), ignore_errors=True)

    def _snapshot(self, checkpoint: Checkpoint) -> Path:
        return self.run / "snapshots" / f"{checkpoint.revision}.safetensors"

    def _folder(self, checkpoint: Checkpoint) -> Path:
        """A place that another run, or the same one trained anew, doesn't share."""
        path = self._snapshot(checkpoint).resolve()
        key = hashlib.blake2b(f"{path}|{path.stat().st_mtime_ns}".encode(), digest_size=8).hexdigest()
        return self._scratch / f"{checkpoint.revision}-{key}"


@contextmanager
def on_disk(what: str) -> Iterator[None]:
    """A full disk as a message that says what to do."""
    try:
        yield
    except OSError as e:
        if e.errno == errno.ENOSPC:
            raise _disk_full(what) from e
        raise


def _cache(value: str) -> str:
    if value not in CACHES:
        raise UserError(f"model.series.cache={value!r} must be one of {', '.join(CACHES)}")
    return value
