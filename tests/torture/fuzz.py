"""Command lines and files that nobody would write, and what is answered.

    python -m tests.torture.fuzz --lines 1000 --files 500 --work build/fuzz

Hypothesis draws them, from a fixed state, so that each start draws the same. Whatever the command: no traceback, an answer
within `SECONDS`, nothing touched outside of the folder that the command names (a tree of sentinels beside it keeps its
digest), nothing executed that a file holds (a canary).
"""

import argparse
import hashlib
import io
import json
import os
import pickle
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.torture.kills import Whole, start, undisturbed
from tests.torture.server import Ended, Server
from tests.torture.tasks import RUN, SNAPSHOT, TASKS, Task

T = TypeVar("T")
SECONDS = 30.0
PATIENCE = 4
"""How many times as long a busy machine gets, before it counts as a hang."""
BY_NAME = {task.name: task for task in TASKS}
CANARY = "canary"


def drawn(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """So many values of a strategy, the same at each start."""
    found: list[T] = []

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def collect(value: T) -> None:
        found.append(value)

    collect()
    return found[:count]


# ---- command lines

KEYS = (
    "seed", "name", "study", "run_keys", "overwrite", "model", "model.width", "model.heads", "model.kv_heads", "model.name",
    "model.series", "model.series.run", "model.series.steps", "model.series.cache", "model.dtype", "model.tokenizer",
    "data.context", "data.windows_per_step", "data.unique_tokens", "data.source", "data.sample_seed", "data.validation",
    "data.validation.valid.windows", "data.validation.valid.stride", "data.validation_fraction", "data.window_offset",
    "tokenizer", "tokenizer.kind", "tokenizer.path", "tokenizer.vocab_size", "tokenizer.train_bytes", "optimizer",
    "optimizer.lr", "optimizer.betas", "optimizer.weight_decay", "optimizer.eps", "schedule", "schedule.warmup_tokens",
    "intervals", "intervals.budget_tokens", "intervals.every_tokens", "intervals.marks", "intervals.geometric",
    "trainer", "trainer.accelerator", "trainer.devices", "trainer.strategy", "trainer.precision", "trainer.threads",
    "trainer.micro_batch_windows", "trainer.evaluation_batch_windows", "trainer.gradient_clip", "trainer.compile",
    "trainer.on_nonfinite", "callbacks", "callbacks.checkpoint", "callbacks.checkpoint.every_steps", "callbacks.progress",
    "callbacks.weight_snapshots.every", "logger", "loss", "loss.position_weighting", "loss.position_factor", "seeds.init",
    "task", "task._target_", "experiment", "preset", "series", "runs", "scheme", "k", "decay", "variant", "every",
    "start_tokens", "last_only", "evaluate", "snapshot", "small", "large", "prompts", "prompt_tokens", "new_tokens",
    "top_p", "lambdas", "evaluation.documents", "evaluation.layout", "evaluation.context", "evaluation.stride",
    "evaluation.separator", "benchmark.tasks", "benchmark.shots", "benchmark.backend", "averaging", "measures",
    "skip_broken", "weights", "optimiser.lr", "trainer.thread", "data", "model.layers", "hydra.verbose",
)  # fmt: skip
"""All but those that say where to write: that is the user's word."""
VALUES = (
    "", "null", "true", "-1", "0", "1", "2", "3", "7", "1.5", "nan", "inf", "-inf", "1e309", "9223372036854775808",
    "1000000000000000000000000000000", "abc", "..", ".", "../../sentinel/x", "sentinel", "/etc/passwd", "/nope/x", "a/b",
    "${nope}", "${oc.env:HOME}", "${oc.env:NOPE}", "${seed}", "[]", "[1,2]", "[1,-1]", "[[1,0]]", "{}", "{a:1}", "[1,2",
    "{a:", "'", '"', "\\", "a b", "ü", "\u2028", "\x01", "\udcff", "x" * 300, "x" * 5000, "=", "a=b", "0..3", "3..0", "1,2",
    "0..99999999", "os.getcwd", "nope.x", "trajlab.nope", "none", "small", "embedded", "llama_tiny", "bytes", "adamw", "lawa",
    "bf16-mixed", "16-mixed", "auto", "ddp", "gpu", "texts", "texts/corpus.jsonl", "corpus.bin", "runs", "-5,5", "0x10",
    "1_000", "???", "!!python/object:os.system", "%s", "$(touch canary)", "`touch canary`", ";touch canary",
)  # fmt: skip
ONCE = (
    "-m",
    "--cfg=job",
    "--info",
    "--nope",
    "-x",
    "--help",
    "seed",
    "=",
    "+",
    "~model",
    "~data.validation",
    "++seed=1",
    "--multirun",
)
PREFIX = st.sampled_from(["", "", "", "", "", "+", "++", "~"])
OVERRIDE = st.builds("{}{}={}".format, PREFIX, st.sampled_from(KEYS), st.sampled_from(VALUES))
FREE = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40).filter(
    lambda t: "hydra" not in t
)
PIECE = st.one_of(OVERRIDE, OVERRIDE, OVERRIDE, OVERRIDE, st.sampled_from(ONCE), FREE)
LINE = st.tuples(
    st.sampled_from(["train", "train", "average", "evaluate", "export", "mixture", "prepare", "audit"]),
    st.lists(PIECE, min_size=1, max_size=3),
)


# ---- files


class _Touch:
    """Unpickled, it makes the canary."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {CANARY}",)


def _pickled(content: Any) -> bytes:
    return pickle.dumps(content)


def _parquet(values: list[Any], column: str = "text") -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({column: values}), out)
    return out.getvalue()


ODD_TEXTS = [
    b"", b"\xff\xfeA\x00", b"\xc3\x28 text", b"a\x00b" * 400, b"word " * 9 + b"\n", b'{"text": "' + b"x" * 120_000 + b'"}\n',
    b'{"text": null}\n', b'{"text": 3}\n', b'{"text": ["a"]}\n', b"[1]\n", b"null\n", b'{"text": "\\ud800"}\n', b'{"text": "a"}\n{',
    b"<|endoftext|>" * 50, b'{"text": NaN}\n', b"PAR1", b"[" * 100_000,
    _parquet([None, None]), _parquet([1, 2]), _parquet([["a"]]), _parquet(["a"], "story"), _parquet([b"\xff\xfe"]), _parquet([]),
]  # fmt: skip
ODD_JSON: list[Any] = [
    None, [], {}, 1, "x", [1], {"experiment": 1, "run": 2}, {"experiment": "a", "run": "b", "config": []},
    {"_target_": "os.system", "command": f"touch {CANARY}"}, {"_target_": "os.system", "_args_": [f"touch {CANARY}"]},
    "${oc.env:HOME}", "${nope}", float("nan"), -1, 10**30, "../../sentinel/x", "x" * 5000, {"a": {"b": {"c": None}}}, True, "",
    "<script>alert(1)</script>", "\ud800",
]  # fmt: skip


@dataclass(frozen=True)
class Change:
    """How a file is spoiled: ``place`` and ``many`` are shares of its length."""

    kind: str
    place: float
    many: float
    number: int


CHANGES = ("cut", "flip", "zeros", "odd", "json", "twice", "pickle", "folder", "gone")
CHANGE = st.builds(
    Change, st.sampled_from(CHANGES), st.floats(0, 1), st.floats(0, 0.2), st.integers(0, 10_000)
)  # fmt: skip
TARGETS = {
    "texts/corpus.jsonl": ("prepare",),
    "texts/corpus.txt": ("prepare",),
    "texts/corpus.parquet": ("prepare",),
    f"{RUN}/manifest.json": ("train", "average", "evaluate", "audit", "read", "export"),
    f"{RUN}/metrics/intervals/part-00001.parquet": ("average", "read", "resume"),
    f"{RUN}/metrics/steps/part-00002.parquet": ("read", "resume"),
    f"{RUN}/checkpoints/last.ckpt": ("resume",),
    SNAPSHOT: ("average", "evaluate", "export", "audit"),
}
"""A file, and the commands that read it; ``read`` is the reader of reports, ``resume`` a run that isn't finished."""
FILE = st.sampled_from([(file, command) for file, commands in TARGETS.items() for command in commands])
SPOILT = st.tuples(FILE, CHANGE)


def spoil(file: Path, change: Change) -> None:
    """Change a file."""
    content = file.read_bytes()
    at, many = int(change.place * len(content)), int(change.many * len(content)) + 1
    odd = ODD_TEXTS[change.number % len(ODD_TEXTS)]
    if change.kind == "cut":
        file.write_bytes(content[:at])
    elif change.kind == "flip" and content:
        at = min(at, len(content) - 1)
        file.write_bytes(content[:at] + bytes([content[at] ^ (1 + change.number % 255)]) + content[at + 1 :])
    elif change.kind == "zeros":
        file.write_bytes(content[:at] + bytes(many) + content[at + many :])
    elif change.kind == "json" and file.suffix == ".json":
        file.write_text(json.dumps(_replaced(json.loads(content), change.number)))
    elif change.kind == "twice":
        file.write_bytes(content + content[at:])
    elif change.kind == "pickle":
        file.write_bytes(_pickled(_Touch() if change.number % 2 else {"state_dict": {"a": _Touch()}}))
    elif change.kind == "folder":
        file.unlink()
        file.mkdir()
    elif change.kind == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:at] + odd + content[at:] if change.number % 3 == 0 else odd)


def _replaced(content: Any, number: int) -> Any:
    """One of the values of a JSON file replaced by an odd one; which one, and by which, the number says."""
    places = list(_places(content))
    path, odd = places[number % len(places)], ODD_JSON[number // len(places) % len(ODD_JSON)]
    if not path:
        return odd
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = odd
    return content


def _places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path, *(p for key, value in inner for p in _places(value, (*path, key)))]


# ---- done and judged


@dataclass
class Fuzz:
    """A server, a folder to work in, and what undisturbed commands left."""

    server: Server
    work: Path
    done: dict[str, Whole]

    @classmethod
    def begun(cls, server: Server, work: Path) -> "Fuzz":
        """Undisturbed commands done, sentinels planted."""
        work.mkdir(parents=True, exist_ok=True)
        done = undisturbed(server, work)
        for name in ("sentinel/thesis.tex", "sentinel/x/manifest.json", "sentinel/x/weights.bin"):
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text("years of work")
        return cls(server, work, done)

    def line(self, base: str, pieces: Sequence[str]) -> list[str]:
        """What is wrong after a command line; an empty list where all is well."""
        task = BY_NAME[base]
        return self._judged(task, [*task.line, *pieces], lambda folder: None)

    def file(self, place: str, command: str, change: Change) -> list[str]:
        """What is wrong after a command that reads a spoilt file."""

        def prepare(folder: Path) -> None:
            if place.startswith("texts/"):
                _corpus_as(folder, place)
            if command == "resume":
                manifest = folder / RUN / "manifest.json"
                manifest.write_text(manifest.read_text().replace('"finished"', '"running"', 1))
            spoil(folder / place, change)

        task = _reader(command)
        line = [a.replace("texts/corpus.jsonl", place) for a in task.line]
        return self._judged(task, line, prepare)

    def _judged(self, task: Task, line: list[str], prepare: Callable[[Path], None]) -> list[str]:
        folder = self.work / "fuzzed"
        ended: Ended | None = None
        for patience in (1, PATIENCE):
            shutil.rmtree(folder, ignore_errors=True)
            start(task, folder, self.done)
            prepare(folder)
            before = self._digest()
            ended = self.server.run(line, folder, limit=SECONDS * patience)
            if not ended.late:
                break
        assert ended is not None
        found = [f"no answer within {SECONDS * PATIENCE:g} s; it said {ended.err[-300:]}"] if ended.late else []
        if "Traceback" in ended.err or (ended.code is None and not ended.late):
            found.append(f"a traceback: {ended.err[-1200:]}")
        if ended.code and not ended.err.strip():
            found.append(f"status {ended.code} without a word")
        if self._digest() != before:
            found.append("something beside the folder was touched")
        if list(folder.rglob(CANARY)) or (self.work / CANARY).exists():
            found.append("what a file or a value held was executed")
        return found

    def _digest(self) -> str:
        """Names and contents of all that lies beside the folder of the command."""
        digest = hashlib.blake2b()
        for path in sorted(p for p in self.work.rglob("*") if p.is_file()):
            if (self.work / "fuzzed") not in path.parents:
                digest.update(f"{path}|{path.stat().st_mtime_ns}|{path.stat().st_size}".encode())
        return digest.hexdigest()


def _corpus_as(folder: Path, place: str) -> None:
    """The corpus in the format that the file's name says."""
    texts = [json.loads(line)["text"] for line in (folder / "texts/corpus.jsonl").read_text().splitlines()]
    if place.endswith(".txt"):
        (folder / place).write_text("<|endoftext|>".join(texts))
    elif place.endswith(".parquet"):
        (folder / place).write_bytes(_parquet(texts))


def _reader(command: str) -> Task:
    """The task behind a word of `TARGETS`."""
    if command == "resume":
        return Task("resume", BY_NAME["train"].line, "train")
    if command == "read":
        return Task("read", ("load", "runs"), "train")
    if command == "train":
        return Task("train again", BY_NAME["train"].line, "train")
    return BY_NAME[command]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument(
        "--part", default="0/1", help="1/3: the second third of the cases, for several processes at once"
    )
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--work", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    began, count, bad = time.monotonic(), Counter[str](), Counter[str]()
    first, parts = map(int, options.part.split("/"))
    cases = {"lines": drawn(LINE, options.lines)[first::parts], "files": drawn(SPOILT, options.files)[first::parts]}
    with Server() as server:
        fuzz = Fuzz.begun(server, options.work.resolve() / f"part{first}")
        for kind, case in _in_turn(cases):
            if time.monotonic() - began > options.seconds:
                break
            found = fuzz.line(*case) if kind == "lines" else fuzz.file(*case[0], case[1])
            count[kind] += 1
            bad[kind] += bool(found)
            for problem in found:
                print(f"{kind}: {case}\n  {problem}", flush=True)
            if sum(count.values()) % 25 == 0:
                print(f"{dict(count)}, {dict(bad)} badly answered, {time.monotonic() - began:,.0f} s", flush=True)
    for kind, wanted in cases.items():
        print(f"{count[kind]} of {len(wanted)} {kind}, {bad[kind]} badly answered")
    print(f"{time.monotonic() - began:,.0f} s")
    raise SystemExit(sum(bad.values()) > 0 or count.total() < sum(map(len, cases.values())))


def _in_turn(cases: dict[str, list[Any]]) -> Iterator[tuple[str, Any]]:
    """Two lines, a file, two lines, a file …"""
    lines, files = iter(cases["lines"]), iter(cases["files"])
    while some := [*(("lines", c) for c in islice(lines, 2)), *(("files", c) for c in islice(files, 1))]:
        yield from some


if __name__ == "__main__":
    main()
