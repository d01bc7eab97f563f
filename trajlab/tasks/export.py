"""``task=export``: a snapshot as a folder that transformers opens, tokenizer included."""

from pathlib import Path

from omegaconf import DictConfig

from trajlab.checkpoints.convert import write_folder
from trajlab.checkpoints.snapshots import description
from trajlab.config.parse import parse
from trajlab.config.schema import ExportConfig
from trajlab.data import tokenizer
from trajlab.data.prepare import prepare as prepare_data
from trajlab.terminal import say


def export(config: DictConfig) -> None:
    """Write the snapshot's model, and the tokenizer of the composed data, to ``to``."""
    checked = parse(config, ExportConfig, _problems)
    encoder = prepare_data(checked.data, checked.tokenizer, checked.intervals.budget_tokens).tokenizer
    known = write_folder(Path(checked.snapshot), Path(checked.to), encoder)
    opens = (
        f"transformers.AutoModelForCausalLM.from_pretrained({checked.to!r}) opens it"
        if known
        else f"transformers doesn't know this model: task=evaluate model=hf_folders model.model_class={_class(checked)} does"
    )
    say(f"{checked.to}: written; {opens}")


def _class(checked: ExportConfig) -> str:
    return str(description(Path(checked.snapshot))["class"])


def _problems(c: ExportConfig) -> list[str]:
    missing = [] if Path(c.snapshot).is_file() else [f"snapshot={c.snapshot}: there is no such file"]
    return [*missing, *tokenizer.problems(c.tokenizer)]
