"""Token marks."""

from itertools import pairwise

import pytest

from trajlab.errors import UserError
from trajlab.evaluation.intervals import Marks, TokenSchedule


def test_the_budget_study_has_21_intervals_and_ends_at_its_published_token() -> None:
    schedule = TokenSchedule.evenly(20_000_000, 1_000_000, 4096)
    assert len(schedule) == 21
    assert (schedule.final_step, schedule.final_tokens) == (4_883, 20_000_768)
    assert schedule.steps[1] * 4096 == 1_003_520


def test_a_mark_is_due_once_at_the_first_step_that_reaches_it() -> None:
    schedule = TokenSchedule([0, 100, 250], tokens_per_step=30)
    due = {step: schedule.due(step) for step in range(10) if schedule.due(step) is not None}
    assert due == {0: 0, 4: 1, 9: 2}


def test_the_budget_is_the_last_mark_though_no_multiple() -> None:
    assert TokenSchedule.evenly(100, 30, 10).marks == (0, 30, 60, 90, 100)


def test_geometric_marks_grow_by_equal_ratios() -> None:
    marks = TokenSchedule.geometric(1_000_000, 1_000, 16, 10).marks
    ratios = [b / a for a, b in pairwise(marks[1:])]
    assert marks[0] == 0
    assert marks[-1] == 1_000_000
    assert max(ratios) / min(ratios) < 1.03


@pytest.mark.parametrize("marks", [[], [0], [5, 10], [0, 10, 10], [0, 20, 10], [0, 31, 45]])
def test_marks_that_make_no_sense_are_refused(marks: list[int]) -> None:
    with pytest.raises(UserError, match="intervals"):
        TokenSchedule(marks, tokens_per_step=30)


def test_the_marks_of_a_series_need_not_start_at_zero() -> None:
    marks = Marks([2_000], tokens_per_step=1)
    assert (len(marks), marks.due(2_000), marks.due(0)) == (1, 0, None)
