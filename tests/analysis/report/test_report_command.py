"""``python -m trajlab report``: it names the page and what to do next, and with --watch writes it again when runs have written."""

import argparse
from pathlib import Path

import pytest

from tests.benchmarks.many_runs import write_runs
from trajlab.analysis import __main__ as command
from trajlab.analysis.report import contents
from trajlab.analysis.report.sections import diminishing_returns


def test_watch_writes_again_only_when_something_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contents, "CONTENTS", (diminishing_returns.section,))
    runs, page = tmp_path / "runs", tmp_path / "out" / "report.html"
    write_runs(runs, rates=1, seeds=1, intervals=3, steps_each=1, positions=False)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        """The second look finds one more seed, the first and the third nothing new."""
        slept.append(seconds)
        if len(slept) == 2:
            write_runs(runs, rates=1, seeds=2, intervals=3, steps_each=1, positions=False)
        if len(slept) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", sleep)
    command.main(["report", str(runs), "--out", str(page.parent), "--watch", "5"], program="python -m trajlab")
    told = capsys.readouterr()
    assert told.out.startswith(f"{page} (report.md")
    assert f"to see it: xdg-open {page}" in told.out
    assert told.err.count("written again") == 1
    assert slept == [5.0] * 4
    assert "<dt>Runs</dt><dd>2</dd>" in page.read_text()


@pytest.mark.parametrize("text", ["0", "-3", "nan", "soon", "1e9"])
def test_seconds_are_refused_in_words(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no number of seconds from 1 to 86400"):
        command._seconds(text)
