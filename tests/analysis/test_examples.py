"""Each name of `trajlab.analysis` shows by an example that runs how it is used, on runs stored below ``runs/demo``."""

import doctest
import json
from contextlib import chdir
from pathlib import Path

import pytest

from tests.analysis.simulated import budget_runs
from trajlab import analysis


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds that fall to 2.80 at a fifth of the budget and rise to 3.90."""
    root = tmp_path_factory.mktemp("examples")
    runs = budget_runs(seeds=3, intervals=11)
    for manifest in runs.manifests:
        run = root / "runs" / "demo" / manifest["run"]
        (run / "metrics" / "intervals").mkdir(parents=True)
        rows = runs.intervals[runs.intervals["run"] == manifest["run"]]
        rows.assign(experiment="demo").to_parquet(run / "metrics" / "intervals" / "part-00000.parquet", index=False)
        whole = {**manifest, "experiment": "demo", "status": "finished"}
        (run / "manifest.json").write_text(json.dumps(whole))
    return root


@pytest.mark.parametrize("name", dir(analysis))
def test_an_example_runs(name: str, folder: Path) -> None:
    found = doctest.DocTestFinder(recurse=False).find(getattr(analysis, name), name)
    assert found
    assert found[0].examples, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    with chdir(folder):
        for test in found:
            runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
