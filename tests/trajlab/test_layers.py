"""The directions of imports that `docs` and pyproject.toml promise are those of the code."""

import pytest
from importlinter.cli import lint_imports

from tests.conftest import ROOT


def test_every_contract_on_imports_is_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert code == 0, capsys.readouterr().out.partition("Broken contracts")[2]
