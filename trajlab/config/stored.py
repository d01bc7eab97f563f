"""What a stored configuration may name: it is data, so nothing of it is built, or even imported, on its own word."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from trajlab.errors import UserError

TARGET = "_target_"
OWN_CORPORA = ("trajlab.data.corpora.EmbeddedCorpus", "trajlab.data.corpora.PathCorpus")
"""Corpora that read text and do nothing else, whatever their arguments are."""


def refuse_foreign_corpora(config: Mapping[str, Any], named: Iterable[str | None], where: str) -> None:
    """Raise UserError where a stored configuration's data come from a class that the present command doesn't name.

    ``named`` are the classes that it names. The values of a corpus must be plain: neither classes nor references.
    """
    allowed = {*OWN_CORPORA, *named}
    for key, node in _corpora(config.get("data") or {}):
        if (target := node.get(TARGET)) not in allowed:
            raise UserError(
                f"{where}: {key} is of the class {target}, which is not built on a stored file's word; where you trust "
                f"that class, name it in the command (data.source._target_={target}; for task=evaluate: "
                f"model.series.corpus={target})"
            )
        if any(_builds(value) for k, value in node.items() if k != TARGET):
            raise UserError(f"{where}: {key} holds a value that isn't plain; it can't be built from a stored file")


def corpus_class(config: Mapping[str, Any]) -> list[str]:
    """The classes of the corpora in the present command's configuration."""
    return [str(node[TARGET]) for _, node in _corpora(config.get("data") or {}) if TARGET in node]


def _corpora(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    splits = data.get("validation") if isinstance(data, Mapping) else None
    sources = {"data.source": data.get("source") if isinstance(data, Mapping) else None}
    for name, split in (splits or {}).items() if isinstance(splits, Mapping) else ():
        sources[f"data.validation.{name}.source"] = split.get("source") if isinstance(split, Mapping) else None
    yield from ((key, node) for key, node in sources.items() if isinstance(node, Mapping))


def _builds(value: Any) -> bool:
    """Whether something would be looked up or built for a value."""
    if isinstance(value, Mapping):
        return any(k == TARGET or _builds(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return any(_builds(v) for v in value)
    return isinstance(value, str) and "${" in value
