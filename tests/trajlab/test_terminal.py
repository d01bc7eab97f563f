"""What people read at the terminal: cut to its width, coloured where colours are shown, with what to do next."""

import io
import os
import sys
from pathlib import Path

import pytest

from trajlab.callbacks.progress import narrowed
from trajlab.terminal import fitted, painted, say, to_see


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [20, 60, 90, 140])
def test_a_line_never_wraps(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    line = "seed=0,optimizer.lr=0.003 | 51,200 of 1,024,000 tokens (5.0%) | loss 5.1234 valid 5.2345 | 20,000 tokens/s"
    assert len(fitted(line)) <= columns - 1
    assert fitted("short") == "short"


@pytest.mark.parametrize("columns", [50, 60, 90, 140])
def test_what_still_takes_long_is_told_at_every_width(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """The line was cut at its end, where the time left stands: at 90 columns nobody saw it."""
    monkeypatch.setenv("COLUMNS", str(columns))
    parts = {
        "run": "seed=0,lr=0.003",
        "tokens": "51,200 of 1,024,000 tokens (5.0%)",
        "losses": "loss 5.1234 valid 5.2345",
        "speed": "20,000 tokens/s",
        "left": "1 min 20 s left",
    }
    line = narrowed(parts)
    assert len(line) <= columns - 1
    assert line.startswith("seed=0")
    assert "5.0%" in line
    assert line.endswith("1 min 20 s left")
    assert ("loss 5.1234" in line) == (columns >= 90)
    assert ("20,000 tokens/s" in line) == (columns == 140)


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert painted("a warning") == "a warning"
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert painted("a warning") == "\033[33ma warning\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert painted("a warning") == "a warning"


def test_a_warning_stands_out_and_other_words_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    say("warning: small")
    say("plain")
    assert terminal.getvalue() == "\033[33mwarning: small\033[0m\nplain\n"


def test_what_to_do_next_can_be_pasted() -> None:
    assert to_see(Path("my runs/a")) == "to see it: python -m trajlab report 'my runs/a'"
    assert os.linesep not in to_see(Path("a"))
