"""A series of checkpoints on the Hugging Face hub: the revisions of a repository."""

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trajlab.checkpoints.audit.listing import FileMark, Listing
from trajlab.checkpoints.sources.disk import checked_cache, disk_full
from trajlab.checkpoints.sources.pattern import Pattern
from trajlab.checkpoints.sources.series import Checkpoint
from trajlab.checkpoints.weights import weight_files
from trajlab.errors import UserError
from trajlab.files import remove_folder, remove_leftovers, scratch_folder, taken_over

WANTED = ("*.json", "*.txt", "*.model", "*.jinja")
"""Files beside the weights: configuration and tokenizer."""


class HubSeries:
    """Revisions of a repository on the Hugging Face hub, e.g. ``EleutherAI/pythia-160m`` with ``step{step}``.

    With ``cache=keep`` checkpoints lie in huggingface_hub's own cache, where other programs find them; with ``evict``
    each lies below ``cache_dir`` until it is done, unless that cache has it already; another evaluation of the same
    repository has folders of its own. Code files are left where they are
    unless ``remote_code``.
    """

    def __init__(
        self,
        repo: str,
        pattern: str = "step{step}",
        tokens_per_step: int = 2_097_152,
        steps: Sequence[int | str] | None = None,
        cache: str = "keep",
        cache_dir: str = "~/.cache/trajlab",
        remote_code: bool = False,
    ) -> None:
        self.repo, self.steps, self.cache, self.remote_code = repo, steps, checked_cache(cache), remote_code
        self.pattern = Pattern(pattern, tokens_per_step)
        self._scratch = Path(cache_dir).expanduser() / "checkpoints" / repo.replace("/", "--")

    @property
    def name(self) -> str:
        """The repository and its pattern."""
        return f"hub:{self.repo}@{self.pattern.text}"

    def checkpoints(self) -> list[Checkpoint]:
        """Those of ``steps`` without asking, or the repository's branches that fit the pattern."""
        if self.steps is not None and self.pattern.listable:
            return self.pattern.listed(self.steps)
        from huggingface_hub import HfApi

        with _explained(self.repo, None):
            refs = HfApi().list_repo_refs(self.repo)
        return self.pattern.numbered([r.name for r in [*refs.branches, *refs.tags]], self.steps, self.repo)

    def listing(self) -> Listing:
        """Sizes and hashes of all files of the revisions, as the hub tells them: no weights are downloaded.

        A revision that isn't there has no files in it. Raises UserError where the hub doesn't answer.
        """
        from huggingface_hub import HfApi, hf_hub_download
        from huggingface_hub.errors import RevisionNotFoundError

        api, files = HfApi(), {}
        with _explained(self.repo, None):
            refs = api.list_repo_refs(self.repo)
            for checkpoint in self.checkpoints():
                with suppress(RevisionNotFoundError):
                    tree = api.list_repo_tree(self.repo, revision=checkpoint.revision, recursive=True)
                    files[checkpoint.revision] = {f.path: _mark(f) for f in tree if hasattr(f, "blob_id")}
        named = sorted({r.name for r in [*refs.branches, *refs.tags]})
        read = lambda revision, name: Path(hf_hub_download(self.repo, name, revision=revision)).read_bytes()  # noqa: E731
        return Listing(files, read, named)

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

        place = str(taken_over(self._scratch / checkpoint.revision)) if self.cache == "evict" else None
        return Path(
            snapshot_download(self.repo, revision=checkpoint.revision, allow_patterns=patterns, local_dir=place)
        )

    def release(self, checkpoint: Checkpoint) -> None:
        """Remove it if it lies in the scratch folder, which belongs to this process alone."""
        if self.cache == "evict":
            remove_folder(scratch_folder(self._scratch / checkpoint.revision))

    def tidy(self) -> None:
        """Remove what killed processes had brought; until then a download of theirs may be gone on with."""
        remove_leftovers(self._scratch)


def _mark(file: Any) -> FileMark:
    """Large files have the hash of their content, small ones that of their blob in git."""
    return FileMark(file.size, file.lfs.sha256 if file.lfs else file.blob_id)


def _has_weights(folder: Path) -> bool:
    try:
        return bool(weight_files(folder))
    except UserError:
        return False


@contextmanager
def _explained(repo: str, revision: str | None) -> Iterator[None]:
    """The hub's errors as messages that say what to do."""
    from huggingface_hub import errors

    unreachable: tuple[type[Exception], ...] = (
        errors.HfHubHTTPError,
        errors.OfflineModeIsEnabled,
        RuntimeError,
        *_client_errors(),
    )

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
            raise disk_full(what) from e
        raise _no_network(what, e) from e
    except unreachable as e:
        raise _no_network(what, e) from e


def _no_network(what: str, error: Exception) -> UserError:
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    why = "HF_HUB_OFFLINE is set" if offline else f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return UserError(
        f"{what} can't be fetched ({why}) and isn't in the local cache; the same command goes on from there once the hub "
        "answers. Local folders work without it: model.series._target_=trajlab.checkpoints.sources.FolderSeries"
    )


def _client_errors() -> tuple[type[Exception], ...]:
    """What the client that huggingface_hub has today raises: it has changed its library, and may again."""
    from huggingface_hub import get_session

    library = sys.modules.get(type(get_session()).__module__.partition(".")[0])
    found = getattr(library, "HTTPError", None)
    return (found,) if isinstance(found, type) and issubclass(found, Exception) else ()
