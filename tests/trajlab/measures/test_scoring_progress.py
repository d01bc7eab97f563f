"""A checkpoint that takes long says how far it is, one that doesn't says nothing."""

import pytest

from trajlab.measures.scoring_progress import ScoringProgress


def test_it_speaks_at_its_interval_and_of_the_time_left(capfd: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    told = ScoringProgress("tiny | step1", every=30, clock=lambda: now[0])
    for scored in range(1, 11):
        now[0] = 20.0 * scored
        told("raw", "valid", scored, 10)
    said = capfd.readouterr().err.splitlines()
    assert said[0] == "tiny | step1 | valid (raw) 20% of 10 windows | about 160 s left"
    assert [line.split("(raw) ")[1].split("%")[0] for line in said] == ["20", "40", "60", "80"]
    quick = ScoringProgress("tiny | step2", every=30, clock=lambda: 0.0)
    for scored in range(1, 5):
        quick("raw", "valid", scored, 4)
    assert capfd.readouterr().err == ""
