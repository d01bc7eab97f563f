"""``task=mixture`` writes one file, goes on with the same command, and replaces nothing but mixtures, where it is told to."""

from pathlib import Path

import pytest

from tests.conftest import run_here
from tests.series_material import write_checkpoint
from trajlab.errors import UserError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "m")


def draw(model: Path, to: Path, *more: str) -> None:
    run_here(
        "task=mixture", "name=x", f"small='{model}'", f"large='{model}'", f"to='{to}'", "data.source=embedded", "prompts=2",
        "new_tokens=2", "lambdas=[[1,0]]", *more,
    )  # fmt: skip


def test_the_same_command_finds_its_file_and_another_one_is_refused(model: Path, tmp_path: Path) -> None:
    to = tmp_path / "mixed.jsonl"
    draw(model, to)
    drawn = to.read_bytes()
    draw(model, to)
    assert to.read_bytes() == drawn
    with pytest.raises(UserError, match="holds other sequences already.*overwrite=true"):
        draw(model, to, "new_tokens=3")
    assert to.read_bytes() == drawn
    draw(model, to, "new_tokens=3", "overwrite=true")
    assert to.read_bytes() != drawn


@pytest.mark.parametrize("there", ["years of work", '{"text": "a corpus"}\n', ""])
def test_what_is_no_mixture_stays_as_it_is(model: Path, tmp_path: Path, there: str) -> None:
    to = tmp_path / "thesis.tex"
    to.write_text(there)
    with pytest.raises(UserError, match=r"thesis\.tex holds something else"):
        draw(model, to, "overwrite=true")
    assert to.read_text() == there
