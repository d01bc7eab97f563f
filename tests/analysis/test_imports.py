"""What may import what."""

import subprocess
import sys

from tests.conftest import ROOT

LINKS = ("analysis", "callbacks", "conf")


def test_analysis_imports_neither_torch_nor_the_rest_of_trajlab() -> None:
    code = (
        "import sys, pkgutil, importlib, trajlab.analysis\n"
        "for m in pkgutil.walk_packages(trajlab.analysis.__path__, 'trajlab.analysis.'):\n"
        "    if not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        "own = [m for m in sys.modules if m.partition('.')[0] in ('trajlab', 'analysis', 'callbacks')]\n"
        "outside = [m for m in own if m != 'trajlab' and not (m + '.').startswith('trajlab.analysis.')]\n"
        "print(len(own) > 60, outside, [m for m in ('torch', 'lightning', 'hydra') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "True [] []"


def test_trajlab_knows_no_callback() -> None:
    own = [p for p in (ROOT / "trajlab").rglob("*.py") if p.relative_to(ROOT / "trajlab").parts[0] not in LINKS]
    assert len(own) > 30
    assert not any(f"trajlab.{link} import" in p.read_text() for p in own for link in LINKS)
