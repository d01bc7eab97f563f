"""A file of a report is whole or absent, and a place that can't be written is one line."""

import os
from pathlib import Path

import pytest

from trajlab.analysis.__main__ import main
from trajlab.analysis.whole_files import write_whole


def test_a_failed_write_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "report.html", "the former")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*report\.html"):
        write_whole(tmp_path / "report.html", "the next")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "the former"


def test_what_a_kill_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".report.html.part").write_text("half")
    write_whole(tmp_path / "report.html", "whole")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_can_t_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(options: object) -> None:
        (tmp_path / "a file").touch()
        (tmp_path / "a file" / "figures").mkdir(parents=True)

    monkeypatch.setattr("trajlab.analysis.__main__._report", refused)
    with pytest.raises(
        SystemExit, match=r"analysis: .*a file.*: Not a directory; make it readable, writable or roomier"
    ):
        main(["report", str(tmp_path)])
