"""The report names what an audit found, and the checkpoints that a series goes without."""

import pandas as pd

from trajlab.analysis.load import Runs
from trajlab.analysis.report.sections import audit

FAULT = {"kind": "mixed", "revisions": ["step9", "step3"], "words": "2 of 9 tensors", "tensors": ["a", "b", "c", "d"]}


def tensors() -> pd.DataFrame:
    rows = [("a", 0, 1.0, None), ("b", 0, 2.0, None), ("a", 1, 3.0, 2.5), ("b", 1, 2.0, 0.5)]
    frame = pd.DataFrame(rows, columns=["tensor", "interval", "norm", "distance_first"])
    return frame.assign(experiment="e", run="m-audit")


def test_findings_and_what_was_left_out_are_named() -> None:
    assert audit.section(Runs({})) is None
    manifests = [
        {"experiment": "e", "run": "m-audit", "faults": [FAULT]},
        {"experiment": "e", "run": "n-audit", "faults": []},
        {
            "experiment": "e",
            "run": "m",
            "broken": [{"revision": "step5", "step": 5, "why": "truncated"}],
            "duplicates": [],
        },
        {"experiment": "e", "run": "n", "broken": [], "duplicates": [["step0", "step2"]]},
    ]
    part = audit.section(Runs({"tensors": tensors()}, manifests))
    assert part is not None
    said = [b.words for b in part.blocks if b.kind in ("problem", "text")]
    assert said[0] == "e/m-audit: 1 fault found by task=audit."
    assert said[1] == "e/n-audit: audited, no fault found."
    assert said[2].endswith("left out, because they can't be opened (skip_broken): step5.")
    assert said[3] == "e/n: step0, step2 have the very same weights."
    findings, broken, moved = [b.frame for b in part.blocks if b.frame is not None]
    assert findings.iloc[0].tolist() == ["mixed", "step9, step3", "2 of 9 tensors", "a, b, c …"]
    assert broken["why"].tolist() == ["truncated"]
    assert moved["tensor"].tolist() == ["a", "b"]
    assert moved["moved"].tolist() == [2.5, 0.25]


def test_nothing_audited_nothing_said() -> None:
    assert audit.section(Runs({}, [{"experiment": "e", "run": "m", "broken": [], "duplicates": []}])) is None
