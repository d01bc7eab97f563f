"""A slice of ``make torture``: twenty kills, some faults, some lines and files that nobody would write."""

import errno
import json
import random
from pathlib import Path

import pytest

from tests.torture.conftest import QUICK
from tests.torture.faults import SIZES, problems
from tests.torture.fuzz import LINE, SPOILT, Fuzz, drawn
from tests.torture.kills import Round, _stored, table, torture, undisturbed
from tests.torture.server import Fate, Server, drawn_fate
from tests.torture.tasks import MICRO, Task

SEED = 11


def test_twenty_kills_change_nothing(server: Server, work: Path) -> None:
    rounds = torture(server, work, kills=20, seed=SEED, seconds=240, tasks=QUICK)
    assert sum(r.kills for r in rounds) >= 20, table(rounds)
    assert all(r.equal for r in rounds)


def test_a_torture_that_was_killed_goes_on(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    done = Round(0, "train", kills_at_moments=2, starts=3, resumed=True, equal=True)
    journal.write_text(json.dumps(vars(done)) + '\n{"number": 1, "ta')
    assert _stored(journal) == [done]
    assert journal.read_text().endswith("}\n")


def test_moments_and_writes_are_drawn_alike_at_each_start() -> None:
    first, again = ([drawn_fate(random.Random(5), 1.0, 40) for _ in range(3)] for _ in range(2))
    assert first == again
    many = [drawn_fate(random.Random(i), 2.0, 40) for i in range(400)]
    writes = {f.write for f in many if f.write}
    assert writes <= set(range(1, 41))
    assert len(writes) > 35
    assert 150 < sum(f.seconds is not None for f in many) < 250


@pytest.mark.parametrize("task", [t for t in QUICK if t.name not in ("prepare", "mixture")], ids=lambda task: task.name)
def test_a_failing_write_is_one_line_and_the_same_command_goes_on(server: Server, work: Path, task: Task) -> None:
    done = undisturbed(server, work, QUICK)
    write = random.Random(f"{SEED}/{task.name}").randint(1, done[task.name].writes)
    fate = Fate(write=write, error=errno.ENOSPC, short=write % 2 == 0)
    assert not problems(server, task, fate, done, work / "faulty")


def test_a_quota_is_one_line_and_the_same_command_goes_on(server: Server, work: Path) -> None:
    done = undisturbed(server, work, QUICK)
    train = next(t for t in QUICK if t.name == "train")
    assert not problems(server, train, Fate(file_bytes=SIZES[1]), done, work / "faulty")


@pytest.fixture
def fuzz(server: Server, work: Path) -> Fuzz:
    return Fuzz.begun(server, work)


@pytest.mark.parametrize("number", range(4))
def test_lines_that_nobody_would_write_are_answered(fuzz: Fuzz, number: int) -> None:
    found = {str(line): fuzz.line(*line) for line in drawn(LINE, 24)[number::4]}
    assert not {line: wrong for line, wrong in found.items() if wrong}


@pytest.mark.parametrize("number", range(4))
def test_files_that_nobody_would_write_are_answered(fuzz: Fuzz, number: int) -> None:
    found = {str(case): fuzz.file(*case[0], case[1]) for case in drawn(SPOILT, 16)[number::4]}
    assert not {case: wrong for case, wrong in found.items() if wrong}


@pytest.mark.parametrize(
    "line",
    [
        [*MICRO, "data.cache_dir=texts/corpus.jsonl/cache"],
        [*MICRO, "runs_dir=texts/corpus.jsonl/runs"],
        [*MICRO, "seed=0,1", "-m", "hydra.sweep.dir=texts/corpus.jsonl/sweep"],
    ],
    ids=["cache", "runs", "sweep"],
)
def test_a_place_that_can_t_be_written_is_one_line(server: Server, tmp_path: Path, line: list[str]) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/corpus.jsonl").write_text("a file where a folder should be")
    ended = server.run(line, tmp_path)
    assert ended.code == 1
    *before, said = ended.err.splitlines()
    assert said.startswith("trajlab: ")
    assert "texts/corpus.jsonl" in said
    assert ";" in said
    assert all("how far they are" in line for line in before), "a sweep says how many runs it has, and nothing else"
