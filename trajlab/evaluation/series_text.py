"""The text that every checkpoint of a series is scored on, cut under one tokenizer."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trajlab.config.schema import EvaluationConfig
from trajlab.data.documents import DocumentWindows, EvaluationText
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import open_tokenizer

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model", "tokenizer_config.json")
SAMPLES = 4
"""Documents of each split."""


@dataclass(frozen=True)
class SeriesText:
    """The text under one tokenizer, with what the manifest says of it."""

    splits: Mapping[str, DocumentWindows]
    source: str
    warning: str | None
    entropy_floor: Mapping[str, float]
    samples: tuple[str, ...] = ()
    """Documents that a tokenizer is told by."""
    context: int = 0
    """Targets of a window that were asked for, or that the model has positions for."""
    unique_tokens: int = 0
    _alike: dict[bytes, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, text: EvaluationText, evaluation: EvaluationConfig, tokenizer: Any, context: int) -> "SeriesText":
        """Cut the text of every split into windows of ``context`` targets. Raises UserError for a split that makes none."""
        splits, floors = {}, {}
        for name, documents in text.documents.items():
            try:
                windows = DocumentWindows.over(
                    documents,
                    tokenizer,
                    context,
                    evaluation.stride,
                    layout=evaluation.layout,
                    separator=evaluation.separator,
                    begin_windows=evaluation.begin_windows,
                    align_last=evaluation.align_last,
                )
            except ValueError as e:
                raise UserError(f"evaluation, split {name}: {e}") from e
            splits[name] = windows
            if (floor := _entropy_floor(text, name, windows, evaluation, tokenizer)) is not None:
                floors[name] = floor
        samples = tuple(d for documents in text.documents.values() for d in documents[:SAMPLES])
        return cls(splits, text.source, text.warning, floors, samples, context)

    @property
    def fingerprint(self) -> str:
        """A hash of every id and of how they are cut."""
        return _joined_fingerprint(self.fingerprints)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The same of each split."""
        return {name: windows.fingerprint() for name, windows in self.splits.items()}

    def cut_alike(self, tokenizer: Any, folder: Path, *, named: bool, remote_code: bool) -> bool:
        """Whether a checkpoint's own tokenizer makes the same ids of the text's first documents as ``tokenizer``.

        A folder without a tokenizer has none to differ; where one is ``named`` in the configuration, it goes for all.
        """
        if named or not any((folder / name).is_file() for name in TOKENIZER_FILES):
            return True
        digest = hashlib.blake2b(b"".join(_content(folder / name) for name in TOKENIZER_FILES)).digest()
        if digest not in self._alike:
            own = open_tokenizer(folder, remote_code=remote_code)
            self._alike[digest] = all(_ids(own, d) == _ids(tokenizer, d) for d in self.samples)
        return self._alike[digest]

    def joined_facts(self, facts: Mapping[str, Any], stored: Mapping[str, Any] | None, where: str) -> dict[str, Any]:
        """The manifest's entry on the data, with what is stored of splits that are not asked for this time.

        Raises OtherData where a split was another one before.
        """
        facts = {**facts, "fingerprints": self.fingerprints, "context": self.context}
        if stored is None:
            return facts
        before = stored.get("fingerprints")
        other = [s for s, f in self.fingerprints.items() if before and before.get(s, f) != f]
        if other or (before is None and stored["fingerprint"] != self.fingerprint):
            raise OtherData(
                f"{where} was begun on other data ({stored['source']}, {stored['fingerprint']}) than are here now "
                f"({self.source}, {self.fingerprint}); bring them back or write overwrite=true"
            )
        for key in ("fingerprints", "windows", "entropy_floor"):
            facts[key] = {**(stored.get(key) or {}), **facts[key]}
        return {**facts, "fingerprint": _joined_fingerprint(facts["fingerprints"])}


def context_warnings(context: int, manifests: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence where other runs of the experiment were scored with windows of another length: losses don't compare."""
    others: dict[int, str] = {}
    for manifest in manifests:
        found = (manifest.get("data") or {}).get("context")
        if isinstance(found, int) and found != context:
            others.setdefault(found, str(manifest.get("run")))
    if not others:
        return []
    named = ", ".join(f"{run} {n:,}" for n, run in sorted(others.items()))
    least = min(context, *others)
    return [
        f"windows of {context:,} tokens here, but of another length in the same experiment ({named}): a longer one lowers the "
        f"loss, so these don't compare; write evaluation.context={least} for all of them"
    ]


class OtherData(UserError):
    """The text is another one than before: nothing that one checkpoint could be blamed for."""


def _joined_fingerprint(fingerprints: Mapping[str, str]) -> str:
    parts = "|".join(f"{name}={f}" for name, f in fingerprints.items())
    return hashlib.blake2b(parts.encode(), digest_size=12).hexdigest()


def _content(file: Path) -> bytes:
    return file.name.encode() + (file.read_bytes() if file.is_file() else b"")


def _ids(tokenizer: Any, document: str) -> list[int]:
    return [*tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"], tokenizer.bos_token_id or -1]


def _entropy_floor(
    text: EvaluationText, split: str, windows: DocumentWindows, evaluation: EvaluationConfig, tokenizer: Any
) -> float | None:
    """Nats a token that no model can beat, where the corpus knows its probabilities and every token counts."""
    grammar = getattr(text.corpora.get(split), "grammar", None)
    whole = (
        evaluation.layout == "stream"
        and evaluation.separator == "eos"
        and tokenizer.bos_token_id is not None
        and tokenizer.eos_token_id is not None
    )
    return grammar.entropy_floor(text.documents[split], windows.token_count) if grammar is not None and whole else None
