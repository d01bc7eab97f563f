"""The command line: spans, flags, and an answer to every mistake."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MICRO, ROOT, trajlab
from trajlab.command_line import SERIES, CommandLineError, command_line, expand_spans


@pytest.mark.parametrize(
    ("written", "expanded"),
    [
        ("seed=0..3", "seed=0,1,2,3"),
        ("seed=0..2,7", "seed=0,1,2,7"),
        ("seed=-1..1", "seed=-1,0,1"),
        ("seed=4..4", "seed=4"),
        ("data.source=../x", "data.source=../x"),
        ("data.source=a..b", "data.source=a..b"),
        ("seed=3", "seed=3"),
        ("--help", "--help"),
    ],
)
def test_spans(written: str, expanded: str) -> None:
    assert expand_spans(written) == expanded


def test_a_span_backwards_is_refused() -> None:
    with pytest.raises(CommandLineError, match=r"0\.\.5"):
        expand_spans("seed=5..0")


@pytest.mark.parametrize("written", ["seed=0..5", "+seed=1,2", "++seed=1,2", "~new_tokens=-5,5", "model@made.x=a,b"])
def test_several_values_need_m(written: str) -> None:
    with pytest.raises(CommandLineError, match=rf"^{re.escape(written)} asks for several runs; add -m"):
        command_line(["name=x", written])


def test_m_is_accepted_anywhere_and_swept_keys_name_the_runs() -> None:
    line = command_line(["experiment=x", "-m", "seed=0..1", "optimizer.lr=1e-3,1e-4"])
    assert line == ["-m", "experiment=x", "seed=0,1", "optimizer.lr=1e-3,1e-4", "run_keys=[seed,optimizer.lr]"]


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("model=pythia", "series=pythia"),
        ("model=llama_tiny", "model=llama_tiny"),
        ("model.size=pythia", "model.size=pythia"),
        ("task.shots=5", "benchmark.shots=5"),
        ("task.tasks=[a.json]", "benchmark.tasks=[a.json]"),
        ("task=evaluate", "task=evaluate"),
    ],
)
def test_former_spellings_are_understood(former: str, present: str) -> None:
    assert command_line([former]) == [present]


def test_the_former_spellings_are_those_of_the_catalogue() -> None:
    assert set(SERIES) == {p.stem for p in (ROOT / "conf" / "series").glob("*.yaml")}


def test_a_sweep_over_former_spellings_names_its_runs_by_the_present_ones() -> None:
    assert command_line(["-m", "model=hf,pythia"]) == ["-m", "series=hf,pythia", "run_keys=[seed,series]"]


MISTAKES = {
    "unknown experiment": (["experiment=tinystory"], ["experiment/tinystory", "tinystories_budget"]),
    "no experiment": ([], ["name is not given", "experiment="]),
    "wrong type": (["seed=abc"], ["seed='abc'", "whole number"]),
    "missing path": (["data.source=no/such.txt"], ["data.source=no/such.txt", "existing path"]),
    "budget of 0": (["intervals.budget_tokens=0"], ["intervals.budget_tokens=0", "at least 1"]),
    "budget under a step": (
        ["intervals.budget_tokens=60"],
        ["under one optimizer step of 64 tokens", "raise the budget"],
    ),
    "vocabulary too large": (["model.vocab_size=280"], ["tokenizer.vocab_size=300", "model.vocab_size=280"]),
    "heads that don't divide": (["model.heads=3"], ["model", "3 heads"]),
    "marks within a step": (["intervals.every_tokens=32"], ["one optimizer step", "further apart"]),
    "a key of no target": (["+optimizer.lrr=1"], ["optimizer.lrr", "torch.optim.AdamW"]),
    "a target of no package": (["callbacks.progress._target_=no.Such"], ["no.Such", "installed"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_clear_message(name: str, tmp_path: Path) -> None:
    overrides, words = MISTAKES[name]
    base = [] if name == "no experiment" else MICRO
    done = trajlab(*base, f"runs_dir={tmp_path}", *overrides, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "is empty"), ("Two words.", "give a longer text"), ("A good day. " * 300, "<|endoftext|>")],
    ids=["empty", "short", "one document"],
)
def test_a_corpus_that_is_too_small(text: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(text)
    done = trajlab(*MICRO, f"runs_dir={tmp_path}", f"data.source={tmp_path / 'text.txt'}", check=False)
    assert done.returncode != 0
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_a_corpus_shorter_than_the_tokens_asked_for(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("<|endoftext|>".join(f"Day {i} was a good day." for i in range(300)))
    asked = [*MICRO, f"runs_dir={tmp_path}", f"data.source={tmp_path / 'text.txt'}", "data.unique_tokens=null"]
    done = trajlab(*asked, "intervals.budget_tokens=64000", "intervals.every_tokens=32000", check=False)
    assert done.returncode != 0
    assert "fresh tokens" in done.stderr
    remedy = done.stderr.split("write ")[1].split()[0]
    trajlab(*asked, remedy, "data.validation.valid.windows=2")


ALL_AT_ONCE = {
    "train": ([*MICRO, "seed=abc", "data.context=x", "trainer.threads=0"], ["seed='abc'", "data.context", "trainer.threads"]),
    "train, as far as torch need not be asked": ([*MICRO, "model.heads=3", "data.source=no.txt"], ["3 heads", "no.txt"]),
    "train, by trying": (
        [*MICRO, "+optimizer.foreach=true", "callbacks.checkpoint.every_steps=-1"],
        ["cannot be `True` together", "every_steps=-1"],
    ),
    "average": (["task=average", "name=x", "runs=no/such", "scheme=merge", "decay_shape=any"], ["runs=no/such is no folder", "scheme=merge"]),
    "export": (["task=export", "name=x", "snapshot=no", "to=x", "tokenizer.path=no"], ["snapshot=no", "tokenizer.path=no"]),
    "mixture": (["task=mixture", "name=x", "small=no", "large=no", "to=x"], ["small=no", "large=no"]),
    "evaluate": (
        ["task=evaluate", "name=x", "model=opt", "model.series.pattern=folder", "+averaging.a._target_=trajlab.averaging.lawa",
         "+averaging.a.k=0"],
        ["model.series.pattern='folder'", "averaging.a"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ALL_AT_ONCE)
def test_all_problems_of_a_task_are_told_at_once(name: str, tmp_path: Path) -> None:
    overrides, words = ALL_AT_ONCE[name]
    done = trajlab(*overrides, f"runs_dir={tmp_path}", check=False)
    assert done.returncode != 0
    assert f"{len(words)} problems" in done.stderr, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr


def test_another_configuration_is_refused_by_its_keys(tmp_path: Path) -> None:
    trajlab(*MICRO, f"runs_dir={tmp_path}")
    done = trajlab(*MICRO, f"runs_dir={tmp_path}", "optimizer.lr=1e-4", check=False)
    assert done.returncode != 0
    assert "optimizer.lr: 0.003 there, 0.0001 asked for" in done.stderr
    trajlab(*MICRO, f"runs_dir={tmp_path}", "optimizer.lr=1e-4", "overwrite=true")


def test_truncated_checkpoints_are_named(tmp_path: Path) -> None:
    trajlab(*MICRO, f"runs_dir={tmp_path}")
    folder = tmp_path / "tinystories_budget_small" / "seed=0"
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"finished"', '"running"'))
    for checkpoint in (folder / "checkpoints").glob("*.ckpt"):  # the last, and the one before
        checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    done = trajlab(*MICRO, f"runs_dir={tmp_path}", check=False)
    assert done.returncode != 0
    assert "last.ckpt can't be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_configuration_is_shown_without_torch(tmp_path: Path) -> None:
    shown = "import sys; sys.argv[1:] = ['name=x', '--cfg', 'job']; from trajlab.__main__ import main; main()"
    checked = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {shown}"
    done = subprocess.run([sys.executable, "-c", checked], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.endswith("False\n")


def test_help_is_quick(tmp_path: Path) -> None:
    before = os.times()
    done = trajlab("--help", cwd=tmp_path)
    after = os.times()
    assert "experiment=tinystories_budget seed=0..5 -m" in done.stdout
    # of the processor, not of the wall clock, which a busy machine stretches; torch's import alone takes more than this
    assert after.children_user + after.children_system - before.children_user - before.children_system < 2.5


def _stopped(arguments: list[str], number: signal.Signals, sign: str) -> tuple[int, str]:
    """Exit code and standard error of a command that gets a signal once it has said ``sign``."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "trajlab", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if sign in line:
                process.send_signal(number)
                break
        rest = process.stderr.read()
        return process.wait(60), said + rest


def test_sigterm_saves_and_ends_the_whole_sweep_and_the_same_command_goes_on(tmp_path: Path) -> None:
    arguments = [
        *MICRO,
        f"runs_dir={tmp_path}",
        "seed=0..1",
        "-m",
        "intervals.budget_tokens=64000",
        "data.unique_tokens=null",
    ]
    code, said = _stopped(arguments, signal.SIGTERM, "64,000 tokens (")
    assert code == 143
    assert "interrupted; saved at" in said
    assert "stopped by SIGTERM" in said
    assert "seed=0..1 -m" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not (tmp_path / "tinystories_budget_small" / "seed=1").exists()


def test_ctrl_c_while_things_are_imported_is_answered_in_words() -> None:
    code = """
import signal, sys
class Signals:
    def find_spec(self, name, *_):
        if name == "hydra":
            signal.raise_signal(signal.SIGINT)
sys.argv[1:] = ["name=x"]
sys.meta_path.insert(0, Signals())
from trajlab.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 130
    assert done.stderr.startswith("trajlab: stopped by SIGINT")
    assert "Traceback" not in done.stderr
