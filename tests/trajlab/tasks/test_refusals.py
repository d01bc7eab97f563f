"""Values that can't be meant are refused before anything is prepared or stored, each in words that name the key."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import MICRO, ROOT, run_here
from trajlab.errors import UserError

GEOMETRIC = ["intervals.every_tokens=null", "+intervals.geometric.first_tokens=64", "+intervals.geometric.count=4"]
SERIES = [
    "task=evaluate",
    "series=hf",
    "name=x",
    "model.name=m",
    "model.series.repo=a/b",
    "model.series.tokens_per_step=1",
]
REFUSED = {
    "a negative rate": (["optimizer.lr=-1"], "optimizer.lr=-1 must be a number, at least 0"),
    "a rate of words": (["optimizer.lr=abc"], "optimizer.lr=abc must be a number"),
    "a rate that is no number": (["optimizer.lr=nan"], "optimizer.lr=nan must be a finite number"),
    "an endless rate": (["optimizer.lr=inf"], "optimizer.lr=inf must be a finite number"),
    "no rate": (["optimizer.lr=null"], "optimizer.lr=None must be a number"),
    "one beta": (["optimizer.betas=0.9"], "two numbers"),
    "a negative decay": (["optimizer.weight_decay=-1"], "weight_decay"),
    "two ways at once": (["+optimizer.foreach=true"], "cannot be `True` together"),
    "a limit that is no number": (["trainer.gradient_clip=nan"], "trainer.gradient_clip=nan"),
    "no key-value heads": (["model.kv_heads=0"], "kv_heads"),
    "a width of words": (["model.width=abc"], "width must be a whole number, at least 1, got 'abc'"),
    "a number that a model lacks": (["+model.head=2"], "model.head: the model has no such number, did you mean heads?"),
    "a checkpoint before the first step": (["callbacks.checkpoint.every_steps=-1"], "every_steps=-1"),
    "no marks": ([*GEOMETRIC, "intervals.geometric.count=0"], "intervals.geometric.count=0"),
    "a billion marks": ([*GEOMETRIC, "intervals.geometric.count=1000000000"], "intervals.geometric.count=1000000000"),
    "a mark at every token": (["intervals.budget_tokens=1000000", "intervals.every_tokens=1"], "intervals.every_tokens=1"),
    "a first mark beyond the budget": ([*GEOMETRIC, "intervals.geometric.first_tokens=6400"], "intervals.geometric.first_tokens=6400"),
    "half of geometric": (["intervals.geometric={first_tokens:1024}"], "first_tokens and count"),
    "an unknown precision": (["trainer.precision=nope"], "trainer.precision='nope'"),
    "a precision near one": (["trainer.precision=bf16-true"], "did you mean bf16-mixed?"),
    "half precision throughout": (["trainer.precision=16-true"], "trainer.precision='16-true'"),
    "double precision": (["trainer.precision=64-true"], "trainer.precision='64-true'"),
    "float16 on a processor": (["trainer.precision=16-mixed"], "needs a GPU"),
    "an unknown accelerator": (["trainer.accelerator=nope"], "trainer.accelerator='nope'"),
    "an unknown strategy": (["trainer.strategy=nope"], "trainer.strategy='nope'"),
    "sharded parameters": (["trainer.strategy=fsdp"], "trainer.strategy=fsdp is not there"),
    "an unknown way to compile": (["trainer.compile=maybe"], "trainer.compile='maybe' must be true, false or auto"),
    "a seed of 64 bits": (["seed=9223372036854775808"], "2**63"),
    "a thousand million unique tokens": (["data.unique_tokens=999999999"], "data.unique_tokens=999999999"),
    "text that is not there": (["data.source=/nope.txt"], "data.source=/nope.txt: no such file"),
    "text of another kind": (["data.source=/etc/passwd"], "data.source=/etc/passwd: can't read ''"),
    "text of a series that is not there": ([*SERIES, "data.source=/nope"], "data.source=/nope: no such file"),
    "a tokenizer that is none": (["tokenizer.path=/etc/passwd"], "is no tokenizer.json"),
    "a callback that is none": (["+callbacks.x._target_=os.getcwd"], "callbacks.x (os.getcwd) is neither"),
    "a task of no package": (["task._target_=nope.x"], "task._target_=nope.x can't be imported"),
    "a task that is none": (["task._target_=null"], "task names nothing"),
    "a reference to nothing": (["seed=${nope}"], "nope"),
    "a reference to nothing in a node": (["optimizer.lr=${nope}"], "nope"),
    "a context of one token": (["data.context=1", "intervals.every_tokens=2"], "intervals"),
    "export of no file": (["task=export", "name=x", "snapshot=/nope", "to=x"], "snapshot=/nope"),
    "an unknown precision of a series": ([*SERIES, "trainer.precision=nope"], "trainer.precision='nope'"),
    "a precision that a series doesn't have": ([*SERIES, "trainer.precision=bf16-true"], "did you mean bf16-mixed?"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides, words = REFUSED[name]
    monkeypatch.setattr("trajlab.data.prepare.packed.pack", lambda *_: pytest.fail("text was read"))
    base = [] if overrides[0].startswith("task=e") else MICRO
    with pytest.raises(UserError) as e:
        run_here(*base, f"runs_dir={tmp_path}", *overrides)
    assert words in str(e.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this machine has none; write trainer=cpu"):
        run_here(*MICRO, f"runs_dir={tmp_path}", "trainer=gpu")


def test_a_hub_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the client that is installed, which is no OSError's: nobody listens at that address."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="a/b can't be fetched .*the same command goes on"):
        run_here(*SERIES, f"runs_dir={tmp_path}")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.lr=-1", "learning rate"),
        ("made.opt-tiny-m.hidden_size=33", "divisible"),
        ("evaluation.documents=0", "evaluation.documents=0 must be at least 1"),
    ],
)
def test_a_made_series_is_checked_to_its_last_model_first(
    override: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trajlab.tasks.made_series._train", lambda *_: pytest.fail("a model was trained"))
    with pytest.raises(UserError) as e:
        run_here("experiment=checkpoint_series_small", f"runs_dir={tmp_path}", override)
    assert words in str(e.value)
    assert not list(tmp_path.iterdir())


LIGHT = [
    "a negative rate", "a rate of words", "a rate that is no number", "an endless rate", "no rate", "one beta",
    "a negative decay", "a limit that is no number", "no key-value heads",
    "a width of words", "a number that a model lacks", "no marks", "a billion marks", "a mark at every token",
    "a first mark beyond the budget", "half of geometric", "an unknown precision", "a precision near one",
    "half precision throughout", "double precision",
    "float16 on a processor", "an unknown accelerator", "an unknown strategy", "sharded parameters", "an unknown way to compile", "a seed of 64 bits",
    "a thousand million unique tokens", "text that is not there", "text of another kind",
    "text of a series that is not there", "a tokenizer that is none", "a task that is none", "a reference to nothing",
    "a reference to nothing in a node", "export of no file", "a context of one token", "an unknown precision of a series",
    "a precision that a series doesn't have",
]  # fmt: skip
"""What is refused without importing torch, which alone takes seconds."""


def test_values_are_refused_without_torch(tmp_path: Path) -> None:
    lines = {name: [*([] if REFUSED[name][0][0].startswith("task=e") else MICRO), *REFUSED[name][0]] for name in LIGHT}
    lines["a warm-up longer than the budget"] = [*MICRO, "schedule.warmup_tokens=5000"]
    code = f"""
import subprocess
import sys
from hydra import compose, initialize_config_module
from trajlab.errors import UserError
from trajlab.tasks import run
assert "numpy" not in sys.modules  # a third of what most refusals would take
for name, line in {lines!r}.items():
    with initialize_config_module("trajlab.conf", version_base="1.3"):
        config = compose("config", overrides=[*line, "runs_dir=never"])
    try:
        run(config)
    except UserError:
        assert "torch" not in sys.modules, name
    else:
        raise AssertionError(name)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
