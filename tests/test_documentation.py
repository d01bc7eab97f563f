"""Every command and every Python snippet of README.md and docs/ works; the README does so from top to bottom.

A block after ``<!-- compose only: why -->`` is checked without being run: its commands are parsed and composed, its
imports are made. A Python block after ``<!-- file: name -->`` is a file. docs/log.md is left out: it records what was run on its day.
"""

import argparse
import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import chdir
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser

from docs.images.turn import turn
from tests.conftest import MICRO, ROOT
from trajlab.analysis import load_runs
from trajlab.analysis.__main__ import main as analyse
from trajlab.command_line import command_line
from trajlab.config.parse import parse_values
from trajlab.data.storygrammar.stories import StoryGrammar
from trajlab.status import main as status
from trajlab.status import parser as status_parser
from trajlab.tasks import VALUES, run

BLOCK = re.compile(r"(?:<!-- ([a-z ]+): (.+?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALLER = [o for o in MICRO if o.startswith(("tokenizer.", "model.", "data.", "callbacks.", "schedule."))]
SHORT = ["intervals.budget_tokens=640", "intervals.every_tokens=320"]
LAUNCH = ("-", "hydra/", "hydra.launcher")
"""What says where runs are made, not which."""
PROGRAMS = ("tensorboard", "mlflow", "xdg-open", "source")
"""Of others: their own words are not ours to test."""


class Block(NamedTuple):
    page: str
    mark: str
    value: str
    language: str
    text: str


def blocks(*pages: Path) -> Iterator[Block]:
    for page in pages:
        for found in BLOCK.findall(page.read_text()):
            yield Block(str(page.relative_to(ROOT)), *found)


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a block, as words without the settings of the environment."""
    for line in block.text.replace("\\\n", " ").splitlines() if block.language in ("", "sh") else ():
        if re.match(r"([A-Z_]+=\S* )?(python|make|pip|tensorboard|mlflow|xdg-open|source) ", line):
            words = shlex.split(line, comments=True)
            yield words[1:] if "=" in words[0] else words


def inline(page: Path) -> Iterator[list[str]]:
    """The whole commands in a page's text; one with a gap (``…``, ``<runs>``, ``N``) is a form and no command."""
    for code in re.findall(
        r"`((?:\.venv/bin/)?(?:python -m \S+|pytest|make) [^`\n]+)`",
        re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL),
    ):
        if not re.search(r"…|<|\bN\b", code):
            yield shlex.split(code.removeprefix(".venv/bin/"))


README = list(blocks(ROOT / "README.md"))
PAGES = [p for p in sorted((ROOT / "docs").rglob("*.md")) if p.name != "log.md"]
EVERY = [*README, *blocks(*PAGES)]


def each_of(overrides: list[str]) -> list[list[str]]:
    """What a sweep asks for, one list of overrides per run."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    values = [
        [f"{o.get_key_element()}={v}" for v in o.sweep_string_iterator()] if o.is_sweep_override() else [o.input_line]
        for o in parsed
    ]
    return [list(chosen) for chosen in product(*values)]


def composed(arguments: list[str], *more: str) -> list[Any]:
    """The configurations of ``python -m trajlab ARGUMENTS``, each judged as its task would judge it."""
    overrides = [o for o in command_line(arguments) if not o.startswith(LAUNCH)]
    with initialize_config_module("trajlab.conf", version_base="1.3"):
        configs = [compose("config", overrides=[*chosen, *more]) for chosen in each_of(overrides)]
    for config in configs:
        if config.task._target_ in VALUES:
            parse_values(config, VALUES[config.task._target_])
    return configs


def test_the_documentation_holds_commands() -> None:
    assert len([c for block in EVERY for c in commands(block)]) > 25


def not_followed() -> list[tuple[str, ...]]:
    """The commands that `followed` doesn't execute, each once."""
    block = {tuple(c) for b in EVERY for c in commands(b) if b.page != "README.md" or b.mark == "compose only"}
    return sorted(block | {tuple(c) for page in (ROOT / "README.md", *PAGES) for c in inline(page)})


@pytest.mark.parametrize("command", not_followed(), ids=lambda c: " ".join(c)[:90])
def test_a_command_is_one(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    match list(command):
        case ["python", "-m", "trajlab", "report" | "calibrate", *_] | [
            "python",
            "-m",
            "trajlab.analysis" | "analysis",
            *_,
        ]:
            parsed: list[argparse.Namespace] = []
            monkeypatch.setattr(argparse.ArgumentParser, "parse_args", _parse_and_stop(parsed))
            with pytest.raises(InterruptedError):
                analyse(list(command[3:]))
            assert parsed[0].command == command[3]
        case ["python", "-m", "trajlab", "status", *words]:
            assert status_parser().parse_args(words).folder
        case ["python", "-m", "trajlab", *arguments]:
            monkeypatch.syspath_prepend(str(ROOT / "tests" / "plugin_example"))
            composed_first(arguments)
        case ["python", "-m", module, *_]:
            assert find_spec(module), module
        case ["pytest", *words]:
            assert all((ROOT / w).exists() for w in words if w.startswith("tests/")), words
        case ["python", "-c", code]:
            compile(code, "docs", "exec")
        case ["python", file, *_]:
            assert (ROOT / file).is_file(), file
        case ["make", target, *_]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
        case ["pip", "install", *words]:
            extras = re.findall(r"\[([\w,]+)\]", " ".join(words))
            assert {e for found in extras for e in found.split(",")} <= _extras()
        case _:
            assert command[0] in PROGRAMS


def composed_first(arguments: list[str]) -> None:
    """The first run of what may be a sweep of many."""
    line = command_line(arguments)
    composed(each_of([o for o in line if not o.startswith(LAUNCH)])[0])


def _parse_and_stop(parsed: list[argparse.Namespace]) -> Any:
    original = argparse.ArgumentParser.parse_args

    def parse_args(self: argparse.ArgumentParser, *arguments: Any, **named: Any) -> argparse.Namespace:
        parsed.append(original(self, *arguments, **named))
        raise InterruptedError

    return parse_args


def _extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def recipe(target: str) -> Iterator[list[str]]:
    """The commands of a target of the Makefile."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    lines = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert lines, target
    for line in lines[1].splitlines():
        yield shlex.split(re.sub(r"\$\(BIN\)/|\$\((RUNS|REPORTS)\)", lambda m: (m[1] or "").lower(), line))


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which somebody has done all that the README says, in its order, in miniature."""
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "stories.txt").write_text("<|endoftext|>".join(StoryGrammar().stories("train", 60)))
    step = np.arange(100, 6_100, 100)
    curve = pd.DataFrame({"curve": "mine", "step": step, "loss": 2 + 20 / step**0.5, "lr": 1e-3})
    curve.assign(loss=curve["loss"].where(step < 3_000)).to_csv(folder / "curves.csv", index=False)
    namespace: dict[str, Any] = {}
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        for block in README:
            if block.mark == "file":
                (folder / block.value).write_text(block.text)
            elif block.language == "python":
                exec(compile(block.text, "README.md", "exec"), namespace)
            elif block.mark != "compose only":
                for command in commands(block):
                    follow(command)
    return folder


def follow(command: list[str]) -> None:
    """Do what a line of the README says; sweeps over more than two values are cut to two."""
    match command:
        case ["make", "demo"]:
            for line in recipe("demo"):
                follow(line)
        case ["python", "-m", "trajlab", "report", runs, *_]:
            if not (Path("reports") / Path(runs).name).exists():  # one report of each folder: seconds each
                analyse(command[3:])
        case ["python", "-m", "trajlab", "status", *words]:
            status(words)
        case ["python", "-m", "trajlab", *arguments]:
            small = [*SMALLER, *SHORT] if any("experiment=" in a for a in arguments) else []
            own = [o for o in small if o.split("=")[0] not in {a.split("=")[0] for a in arguments}]
            for config in composed([re.sub(r"=(\d+)\.\.\d+$", r"=\1..1", a) for a in arguments], *own):
                run(config)


def test_the_readme_works_from_top_to_bottom(followed: Path) -> None:
    made: dict[str, list[str]] = {}
    for folder in sorted(p.parent for p in followed.glob("runs/*/*/manifest.json")):
        made.setdefault(folder.parent.name, []).append(folder.name)
    assert made["tinystories_budget_small"] == ["seed=0", "seed=1", "seed=6"]
    assert made["two_rates"] == [f"seed={s},optimizer.lr={lr}" for s in (0, 1) for lr in ("0.001", "0.003")]
    assert made["my_text"] == ["seed=0"]
    assert list(followed.glob("runs/mine/seed=0/metrics/unlikely/*.parquet"))
    assert list(followed.glob("runs/tinystories_budget_small/seed=0/averages/lawa5/*"))
    for report in ("tinystories_budget_small", "two_rates"):
        assert (followed / "reports" / report / "report.html").is_file()


def test_the_picture_of_the_readme_can_be_drawn(followed: Path) -> None:
    drawn = turn(load_runs(followed / "runs" / "tinystories_budget_small"), "black", "blue", "red")
    words = [t.get_text() for t in drawn.axes[0].texts]
    assert any(w.startswith("lowest: ") for w in words)
    assert {w.split()[0] for w in words} >= {"validation", "training"}


@pytest.mark.parametrize("page", [p for p in PAGES if "```python" in p.read_text()], ids=lambda p: p.stem)
def test_the_snippets_of_a_page_run(page: Path, followed: Path) -> None:
    """In one namespace, in their order."""
    namespace: dict[str, Any] = {}
    with chdir(followed):
        for block in blocks(page):
            if block.language == "python":
                exec(
                    compile(_imports(block.text) if block.mark == "compose only" else block.text, page.name, "exec"),
                    namespace,
                )


def _imports(code: str) -> ast.Module:
    return ast.Module([n for n in ast.parse(code).body if isinstance(n, ast.Import | ast.ImportFrom)], [])
