"""Where text comes from. `resolve` turns ``data.source`` into a `Corpus`; a corpus yields documents by split.

``auto`` tries, in this order, the local Hugging Face cache, the hub (a few seconds to answer, ``HF_HUB_OFFLINE``
respected) and last the embedded StoryGrammar; ``cache``, ``hub`` and ``embedded`` take that one or fail, and any other
word is a path. A new kind of corpus is a class with `Corpus`' members, from any importable package, and its source is a
node: ``data.source={_target_: my_package.MyCorpus, …}``.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from trajlab.config.build import build
from trajlab.config.groups import SOURCES
from trajlab.data.kept_lines import appending, whole_lines
from trajlab.data.path_corpus import PathCorpus
from trajlab.data.storygrammar.stories import StoryGrammar
from trajlab.data.text_files import text_of
from trajlab.errors import UserError

SHUFFLE_BUFFER = 10_000
"""Documents of a stream that are drawn from at random: some ten megabytes of stories."""
ANSWER_SECONDS = 5.0
"""How long the hub gets to answer."""


@runtime_checkable
class Corpus(Protocol):
    """Documents of two splits that share none, in an order that never changes."""

    @property
    def warning(self) -> str | None:
        """Why it is not what was asked for, if so."""
        ...

    @property
    def shuffled(self) -> bool:
        """Whether documents come in a random order already, or without end; else `trajlab.data.sampling` draws one."""
        ...

    @property
    def name(self) -> str:
        """What it is and where it was found, for people: shown in banners and captions."""
        ...

    def identity(self) -> str:
        """A string that changes whenever the documents do; caches are keyed by it."""
        ...

    def documents(self, split: str) -> Iterator[str]:
        """The documents of ``train`` or ``validation``."""
        ...


@dataclass
class EmbeddedCorpus:
    """StoryGrammar: generated stories without end, whose exact probabilities are known."""

    warning: str | None = None
    grammar: StoryGrammar = field(default_factory=StoryGrammar)

    shuffled = True

    @property
    def name(self) -> str:
        """The grammar and its version."""
        return f"embedded:StoryGrammar-{self.grammar.version}"

    def identity(self) -> str:
        """The version fixes every story."""
        return self.name

    def documents(self, split: str) -> Iterator[str]:
        """An endless stream."""
        return self.grammar.stories("valid" if split == "validation" else split)


@dataclass
class HubCorpus:
    """A data set of the Hugging Face hub; from the local cache, or streamed, so that only what is asked for is fetched.

    What was streamed is kept below ``keep`` as JSON lines and read from there the next time. With a ``sample_seed`` the
    stream is shuffled as far as that goes without fetching all of it: its files, and documents within a buffer.
    """

    repo: str
    revision: str
    keep: Path
    text_column: str = "text"
    offline: bool = False
    warning: str | None = None
    sample_seed: int | None = None

    @property
    def shuffled(self) -> bool:
        """A stream is shuffled as it comes; a whole copy on this machine can be sampled better."""
        return self.sample_seed is not None and not self._whole

    @property
    def _whole(self) -> bool:
        return self.offline and not self._kept("train").exists()

    def _kept(self, split: str) -> Path:
        return self.keep / _kept_name(split, self.sample_seed)

    @property
    def name(self) -> str:
        """Where it came from and which revision it is."""
        return f"{'cache' if self.offline else 'hub'}:{self.repo}@{self.revision[:12]}"

    def identity(self) -> str:
        """Repository and revision fix every document."""
        shuffled = f"|shuffled {self.sample_seed}" if self.shuffled else ""
        return f"hub:{self.repo}@{self.revision}{shuffled}"

    def documents(self, split: str) -> Iterator[str]:
        """First what is kept, then the stream from there on; documents of white space alone are left out."""
        return (text for text in self._rows(split) if text.strip())

    def _rows(self, split: str) -> Iterator[str]:
        if self._whole:
            yield from self._stream(split)
            return
        lines = 0
        for text in whole_lines(self._kept(split)):
            lines += 1
            yield text
        # what is kept ends where a former run had enough, or was killed
        if not self.offline or _hub_revision(self.repo, self.keep, ANSWER_SECONDS)[0]:
            yield from replace(self, offline=False)._fetched(split, lines)

    def _fetched(self, split: str, lines: int) -> Iterator[str]:
        """What follows so many texts; a second process waits, then reads what the first has fetched."""
        kept = self._kept(split)
        with appending(kept) as keep:
            for text in islice(whole_lines(kept), lines, None):
                lines += 1
                yield text
            for text in islice(self._stream(split), lines, None):
                keep(text)
                yield text

    def _stream(self, split: str) -> Iterator[str]:
        import datasets  # takes seconds: only where it is used

        rows = datasets.load_dataset(
            self.repo,
            split=split,
            revision=self.revision,
            streaming=not self.offline,
            download_config=datasets.DownloadConfig(local_files_only=self.offline),
        )
        if self.sample_seed is not None and not self.offline:
            rows = rows.shuffle(seed=self.sample_seed, buffer_size=SHUFFLE_BUFFER)
        return (
            text_of(row[self.text_column], f"{self.repo}, row {i:,}", self.text_column) for i, row in enumerate(rows, 1)
        )


def resolve(
    source: str | Mapping[str, Any],
    repo: str,
    cache_dir: Path,
    *,
    validation_fraction: float = 0.05,
    timeout: float = ANSWER_SECONDS,
    sample_seed: int | None = None,
) -> Corpus:
    """The corpus that ``source`` names, its own order kept. Raises UserError where it can't be had."""
    if not isinstance(source, str):
        return _built(source)
    if source not in SOURCES:
        return PathCorpus(Path(source), validation_fraction=validation_fraction)
    return EmbeddedCorpus() if source == "embedded" else _resolve_remote(source, repo, cache_dir, timeout, sample_seed)


def _built(node: Mapping[str, Any]) -> Corpus:
    """A corpus of a class of the user's."""
    corpus = build(node, "data.source")
    if not isinstance(corpus, Corpus):
        wanted = ("name", "warning", "shuffled", "identity", "documents")
        missing = [member for member in wanted if not hasattr(corpus, member)]
        raise UserError(f"data.source ({node['_target_']}) is no corpus: it lacks {', '.join(missing)}")
    return corpus


def _resolve_remote(source: str, repo: str, cache_dir: Path, timeout: float, sample_seed: int | None) -> Corpus:
    reasons = []
    for place, find in (("cache", _cached_revision), ("hub", _hub_revision)):
        if source not in ("auto", place):
            continue
        revision, reason = find(repo, cache_dir, timeout, sample_seed)
        if revision:
            return HubCorpus(
                repo, revision, _keep(cache_dir, repo, revision), offline=place == "cache", sample_seed=sample_seed
            )
        reasons.append(f"{place}: {reason}")
    why = "; ".join(reasons)
    if source != "auto":
        raise UserError(f"data.source={source}: {repo} can't be had ({why}); use data.source=embedded or a path")
    return EmbeddedCorpus(warning=f"{repo} can't be had ({why}): the run uses the EMBEDDED corpus StoryGrammar instead")


def _keep(cache_dir: Path, repo: str, revision: str) -> Path:
    return cache_dir / "corpora" / repo.replace("/", "--") / revision


def _kept_name(split: str, sample_seed: int | None) -> str:
    return f"{split}.jsonl" if sample_seed is None else f"{split}.sample{sample_seed}.jsonl"


def _cached_revision(repo: str, cache_dir: Path, timeout: float, sample_seed: int | None) -> tuple[str | None, str]:
    """A revision that lies on this machine: kept by trajlab, or downloaded by huggingface_hub."""
    kept = sorted(
        (cache_dir / "corpora" / repo.replace("/", "--")).glob(f"*/{_kept_name('train', sample_seed)}"),
        key=lambda p: p.stat().st_mtime,
    )
    if kept:
        return kept[-1].parent.name, ""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    ref = hub / f"datasets--{repo.replace('/', '--')}" / "refs" / "main"
    if ref.exists() and any(hub.glob(f"datasets--{repo.replace('/', '--')}/snapshots/{ref.read_text()}/**/*.parquet")):
        return ref.read_text(), ""
    return None, "not there"


def _hub_revision(repo: str, cache_dir: Path, timeout: float, sample_seed: int | None = None) -> tuple[str | None, str]:
    """The newest revision on the hub, if it answers in time."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return None, "HF_HUB_OFFLINE is set"

    def ask() -> str:
        from huggingface_hub import HfApi

        return str(HfApi().dataset_info(repo, timeout=timeout).sha)

    executor = ThreadPoolExecutor(1)  # a name server that hangs ignores the client's own limit
    try:
        return executor.submit(ask).result(timeout + 2), ""
    except Exception as e:
        return None, f"no answer ({type(e).__name__})"
    finally:
        executor.shutdown(wait=False)
