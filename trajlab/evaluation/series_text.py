"""The text that every checkpoint of a series is scored on, cut under one tokenizer."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trajlab.config.schema import EvaluationConfig
from trajlab.data.documents import DocumentWindows, EvaluationText
from trajlab.errors import UserError


@dataclass(frozen=True)
class SeriesText:
    """The text under one tokenizer, with what the manifest says of it."""

    splits: Mapping[str, DocumentWindows]
    source: str
    warning: str | None
    entropy_floor: Mapping[str, float]
    unique_tokens: int = 0

    @classmethod
    def of(cls, text: EvaluationText, evaluation: EvaluationConfig, tokenizer: Any, context: int) -> "SeriesText":
        """Cut the text of every split into windows of ``context`` targets. Raises UserError for a split that makes none."""
        splits, floors = {}, {}
        for name, documents in text.documents.items():
            try:
                windows = DocumentWindows.over(
                    documents, tokenizer, context, evaluation.stride, layout=evaluation.layout
                )
            except ValueError as e:
                raise UserError(f"evaluation, split {name}: {e}") from e
            splits[name] = windows
            if (floor := _entropy_floor(text, name, windows, evaluation.layout, tokenizer)) is not None:
                floors[name] = floor
        return cls(splits, text.source, text.warning, floors)

    @property
    def fingerprint(self) -> str:
        """A hash of every id and of how they are cut."""
        parts = "|".join(f"{name}={windows.fingerprint()}" for name, windows in self.splits.items())
        return hashlib.blake2b(parts.encode(), digest_size=12).hexdigest()


def _entropy_floor(
    text: EvaluationText, split: str, windows: DocumentWindows, layout: str, tokenizer: Any
) -> float | None:
    """Nats a token that no model can beat, where the corpus knows its probabilities and every token counts."""
    grammar = getattr(text.corpora.get(split), "grammar", None)
    whole = layout == "stream" and tokenizer.bos_token_id is not None and tokenizer.eos_token_id is not None
    return grammar.entropy_floor(text.documents[split], windows.token_count) if grammar is not None and whole else None
