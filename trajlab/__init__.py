"""Trajectories of language models in training: train, evaluate, store, analyse.

`trajlab.analysis`, `trajlab.callbacks` and `trajlab.conf` are links to the folders of these names beside this one, so
that an installation brings one package and none of a common name.
"""

from pathlib import Path

if not (Path(__file__).parent / "conf").is_dir():  # a checkout without links, as on Windows
    __path__.append(str(Path(__file__).parent.parent))

__version__ = "0.1.0"
