"""Laws of installed packages join the built-in ones; broken ones are named and left out."""

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.curve_laws import registry
from trajlab.analysis.forecasting import baselines, forecast_curve

DOCS = Path(__file__).parents[3] / "docs/curve_laws.md"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package outside the tree, with the entry points of its metadata."""

    def install(source: str, points: dict[str, str]) -> None:
        (tmp_path / "law_from_outside.py").write_text(source)
        metadata = tmp_path / "law_from_outside-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: law-from-outside\nVersion: 1.0\n")
        lines = [f"[{registry.GROUP}]", *(f"{name} = {value}" for name, value in points.items())]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(tmp_path)

    registry.laws.cache_clear()
    yield install
    registry.laws.cache_clear()
    sys.modules.pop("law_from_outside", None)


def law_of_the_docs() -> str:
    return re.search(r"```python\n(from trajlab.analysis.curve_laws import Parameter.*?)```", DOCS.read_text(), re.S)[1]


def test_the_law_of_the_docs_joins_from_outside_in_thirty_lines(installed) -> None:
    source = law_of_the_docs()
    assert len(source.strip().splitlines()) <= 30
    installed(source, {"exponential": "law_from_outside:ExponentialLaw"})
    assert [law.name for law in registry.laws()] == [*(law.name for law in registry.BUILT_IN), "exponential"]
    step = np.arange(1.0, 101)
    loss = 2 + 3 * np.exp(-step / 30)
    law = registry.laws()[-1].fit(pd.DataFrame({"step": step, "loss": loss}))
    assert law.params == pytest.approx({"a": 3.0, "tau": 30.0, "c": 2.0}, rel=1e-4)
    numeric_R = [(type(law)({**law.params, "tau": 30 + d}).predict(step)) for d in (1e-4, -1e-4)]
    np.testing.assert_allclose(law.gradient(step)[:, 1], (numeric_R[0] - numeric_R[1]) / 2e-4, rtol=1e-4)
    assert "exponential" in [law.name for law in baselines()]
    np.testing.assert_allclose(forecast_curve(step, loss, 0.4)["exponential"].loss_M, loss[40:], atol=1e-4)


def test_broken_entry_points_are_one_warning_each_and_never_the_end(installed) -> None:
    source = (
        law_of_the_docs()
        + '\n\nclass Half(StepLaw):\n    name = "half"\n\n\nclass Taken(ExponentialLaw):\n    name = "power"\n'
    )
    points = {
        "gone": "no_such_module:Law",
        "half": "law_from_outside:Half",
        "number": "law_from_outside:np",
        "taken": "law_from_outside:Taken",
        "whole": "law_from_outside:ExponentialLaw",
    }
    installed(source, points)
    with pytest.warns(UserWarning, match="is left out") as caught:
        found = registry.laws()
    assert [law.name for law in found[len(registry.BUILT_IN) :]] == ["exponential"]
    messages = [str(w.message) for w in caught if registry.GROUP in str(w.message)]
    assert len(messages) == 4
    for name, words in (
        ("gone", "no_such_module"),
        ("half", "form_and_gradient"),
        ("number", "subclass"),
        ("taken", "'power'"),
    ):
        assert any(name in m and words in m for m in messages), (name, messages)


def test_every_entry_point_is_loaded_in_the_order_of_its_name(installed, monkeypatch) -> None:
    installed("", {})
    points = [EntryPoint(n, "no_such_module:x", registry.GROUP) for n in ("b", "a")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    with pytest.warns(UserWarning, match="is left out") as caught:
        assert registry.laws() == registry.BUILT_IN
    assert [str(w.message).split(":")[1].split()[0] for w in caught] == ["a", "b"]
