"""Every class that a configuration file names can be imported, whatever the file is for."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hydra.utils import get_object

from tests.conftest import ROOT

FILES = sorted((ROOT / "conf").rglob("*.yaml"))


def targets(node: Any) -> Iterator[str]:
    """The values of every ``_target_``, however deep."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "_target_")
        yield from (t for value in node.values() for t in targets(value))
    elif isinstance(node, list):
        yield from (t for value in node for t in targets(value))


def unknown(text: str) -> list[str]:
    """The targets of a configuration file that can't be imported."""
    found = []
    for target in targets(yaml.safe_load(text)):
        try:
            get_object(target)
        except Exception:
            found.append(target)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_target_can_be_imported(file: Any) -> None:
    assert unknown(file.read_text()) == []


def test_a_misspelt_target_is_found() -> None:
    text = (ROOT / "conf" / "callbacks" / "telemetry.yaml").read_text()
    assert unknown(text.replace("PositionLoss", "PositionLos")) == ["trajlab.callbacks.position_loss.PositionLos"]
