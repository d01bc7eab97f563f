"""What may import what."""

import subprocess
import sys

from tests.conftest import ROOT

LINKS = ("analysis", "callbacks", "conf")


def test_analysis_imports_neither_torch_nor_trajlab() -> None:
    code = (
        "import sys, pkgutil, importlib, trajlab.analysis as analysis\n"
        "for m in pkgutil.walk_packages(analysis.__path__, 'trajlab.analysis.'):\n"
        "    if not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'lightning')\n"
        "       or m.startswith('trajlab.') and not m.startswith('trajlab.analysis')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_trajlab_knows_no_callback() -> None:
    own = [p for p in (ROOT / "trajlab").rglob("*.py") if p.relative_to(ROOT / "trajlab").parts[0] not in LINKS]
    assert len(own) > 30
    assert not any(f"trajlab.{link} import" in p.read_text() for p in own for link in LINKS)
