"""Kill every task at random moments, give the same command again until it is done, and compare with an undisturbed one.

    python -m tests.torture.kills --kills 200 --seed 0 --seconds 3600 --work build/torture

A round takes a task and its starting folder, kills the command a few times with SIGKILL, half of the time at a random
moment and half of the time at a random write (`server.drawn_fate`), then lets it through. Nothing in the folder may then
differ from what an undisturbed command leaves, measured times aside, and nothing else may lie there. A torture that was
killed itself goes on with the rounds that are missing: what is done stands in ``journal.jsonl``.
"""

import argparse
import json
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.torture.server import Ended, Server, drawn_fate
from tests.torture.tasks import TASKS, Task, write_corpus
from tests.torture.tree import differences

MOST_KILLS = 5
"""Kills of one command before it is let through."""
SELDOM = {"report": 5}
"""Of the rounds of these tasks, which take longest, only every n-th is done."""


@dataclass
class Whole:
    """An undisturbed command: what it left, and how long it took."""

    folder: Path
    seconds: float
    writes: int


@dataclass
class Round:
    """What happened in a round."""

    number: int
    task: str
    kills_at_moments: int = 0
    kills_at_writes: int = 0
    starts: int = 0
    resumed: bool = False
    """It was killed, and the same command came to its end."""
    equal: bool = False

    @property
    def kills(self) -> int:
        """Of both kinds."""
        return self.kills_at_moments + self.kills_at_writes


def undisturbed(server: Server, work: Path, tasks: Sequence[Task] = TASKS) -> dict[str, Whole]:
    """Every command once, each in a copy of what the one before it left; kept for a second start."""
    record = work / "whole.json"
    if record.exists():
        return {name: Whole(Path(w.pop("folder")), **w) for name, w in json.loads(record.read_text()).items()}
    done: dict[str, Whole] = {}
    for task in tasks:
        folder = work / "whole" / task.name
        shutil.rmtree(folder, ignore_errors=True)
        start(task, folder, done)
        ended = server.run(task.line, folder, composed=True)
        assert ended.code == 0, f"{task.name} fails by itself:\n{ended.err}"
        done[task.name] = Whole(folder, ended.seconds, ended.writes)
    record.write_text(json.dumps({name: {**asdict(w), "folder": str(w.folder)} for name, w in done.items()}))
    return done


def start(task: Task, folder: Path, done: dict[str, Whole]) -> None:
    """The folder that a task begins in."""
    if task.follows:
        shutil.copytree(done[task.follows].folder, folder)
    else:
        write_corpus(folder)


def one_round(server: Server, number: int, task: Task, done: dict[str, Whole], folder: Path, seed: int) -> Round:
    """Kill a command some times, let it through, compare. Raises AssertionError at a difference and where it fails."""
    generator, whole = random.Random(f"{seed}/{number}"), done[task.name]
    shutil.rmtree(folder, ignore_errors=True)
    start(task, folder, done)
    happened = Round(number, task.name)
    for _ in range(generator.randint(1, MOST_KILLS)):
        fate = drawn_fate(generator, whole.seconds, whole.writes)
        happened.starts += 1
        ended = server.run(task.line, folder, fate, composed=True)
        if ended.code is not None:
            _assert_whole(task, ended)
            break
        happened.kills_at_moments += fate.write is None
        happened.kills_at_writes += fate.write is not None
    happened.starts += 1
    _assert_whole(task, server.run(task.line, folder, composed=True))
    happened.resumed = happened.kills > 0
    found = differences(folder, whole.folder)
    assert not found, f"round {number}, {task.name}, after {happened.kills} kills (see {folder}):\n" + "\n".join(found)
    happened.equal = True
    return happened


def _assert_whole(task: Task, ended: Ended) -> None:
    assert ended.code == 0, f"{task.name}: the same command again ends with {ended.code}:\n{ended.err[-3000:]}"


def order(tasks: Sequence[Task]) -> Iterator[tuple[int, Task]]:
    """Rounds without end, numbered, the tasks in turn."""
    number, turn = 0, 0
    while True:
        for task in tasks:
            if turn % SELDOM.get(task.name, 1) == 0:
                yield number, task
                number += 1
        turn += 1


def torture(
    server: Server, work: Path, kills: int, seed: int, seconds: float, tasks: Sequence[Task] = TASKS
) -> list[Round]:
    """Rounds until there are so many kills, or the time is over. Raises AssertionError at the first difference."""
    work.mkdir(parents=True, exist_ok=True)
    began, journal = time.monotonic(), work / "journal.jsonl"
    done = undisturbed(server, work, tasks)
    rounds = _stored(journal)
    for number, task in order(tasks):
        if number < len(rounds):
            continue
        if sum(r.kills for r in rounds) >= kills or time.monotonic() - began > seconds:
            break
        rounds.append(one_round(server, number, task, done, work / "cut", seed))
        with journal.open("a") as out:
            out.write(json.dumps(asdict(rounds[-1])) + "\n")
    return rounds


def _stored(journal: Path) -> list[Round]:
    """The rounds that a former start finished; a last line that a kill cut is left out, in the file too."""
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    if whole != lines:
        journal.write_text("".join(whole))
    return [Round(**json.loads(line)) for line in whole]


def table(rounds: Sequence[Round]) -> str:
    """A line per task: kills, how many at a write, commands that were killed, that then came to their end, equal results."""
    columns = ("kills", "at a write", "commands killed", "resumed", "equal")
    lines = [f"{'task':<20}" + "".join(f"{c:>17}" for c in columns)]
    names = list(dict.fromkeys(r.task for r in rounds))
    for name in [*names, None]:
        own = [r for r in rounds if r.kills and name in (None, r.task)]
        numbers = (
            sum(r.kills for r in own), sum(r.kills_at_writes for r in own), len(own), sum(r.resumed for r in own),
            sum(r.equal for r in own),
        )  # fmt: skip
        lines.append(f"{name or 'all':<20}" + "".join(f"{n:>17}" for n in numbers))
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--work", type=Path, default=Path("build/torture"), help="where it works, and goes on")
    options = parser.parse_args()
    work = options.work.resolve() / f"seed{options.seed}"
    began = time.monotonic()
    with Server() as server:
        rounds = torture(server, work, options.kills, options.seed, options.seconds)
    print(table(rounds))
    made = sum(r.kills for r in rounds)
    print(f"seed {options.seed}: {made} kills, this start took {time.monotonic() - began:,.0f} s")
    if made < options.kills:
        raise SystemExit(f"{made} of {options.kills} kills within {options.seconds:g} s; the same command goes on")
    print("every result equal, no file left over")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
