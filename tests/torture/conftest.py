"""One server of forked commands, and what undisturbed ones leave, for all that is tortured in a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture.kills import undisturbed
from tests.torture.server import Server
from tests.torture.tasks import TASKS

QUICK = tuple(t for t in TASKS if t.name not in ("report", "train on a file"))
"""A report takes as long as all others together; make torture kills it too."""


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture(scope="session")
def work(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that undisturbed results lie in."""
    folder = tmp_path_factory.mktemp("torture")
    undisturbed(server, folder, QUICK)
    return folder
