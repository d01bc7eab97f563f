"""``task=export``: a snapshot as a folder that transformers opens, tokenizer included."""

from pathlib import Path

from omegaconf import DictConfig
from tokenizers import Tokenizer

from trajlab.checkpoints.convert import write_folder
from trajlab.checkpoints.snapshots import description
from trajlab.config.parse import parse
from trajlab.config.schema import ExportConfig
from trajlab.data.prepare import prepare as prepare_data
from trajlab.errors import UserError
from trajlab.files import publish, remove_folder, scratch_folder
from trajlab.tasks.early import export_problems
from trajlab.terminal import say


def export(config: DictConfig) -> None:
    """Write the snapshot's model, and the tokenizer of the composed data, to ``to``."""
    checked = parse(config, ExportConfig, export_problems)
    encoder = prepare_data(checked.data, checked.tokenizer, checked.intervals.budget_tokens).tokenizer
    known = _write(Path(checked.snapshot), Path(checked.to), encoder)
    opens = (
        f"transformers.AutoModelForCausalLM.from_pretrained({checked.to!r}) opens it"
        if known
        else f"transformers doesn't know this model: task=evaluate model=hf_folders model.model_class={_class(checked)} does"
    )
    say(f"{checked.to}: written; {opens}")


def _write(snapshot: Path, to: Path, encoder: Tokenizer) -> bool:
    """`write_folder`, whole or not at all; a folder that is there is left as it is.

    Raises UserError where it holds anything but this very export.
    """
    there = to.is_dir() and any(to.iterdir())
    if to.is_dir() and not there:
        to.rmdir()
    written = scratch_folder(to) if there else to
    known: list[bool] = []
    try:
        publish(written, lambda temporary: known.append(write_folder(snapshot, temporary, encoder)))
        if there and _contents(written) != _contents(to):
            raise UserError(f"to={to} holds something else already; give another folder")
    finally:
        if there:
            remove_folder(written)
    return known[0]


def _contents(folder: Path) -> dict[Path, bytes]:
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _class(checked: ExportConfig) -> str:
    return str(description(Path(checked.snapshot))["class"])
