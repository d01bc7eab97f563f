"""``--help``: what the program does and which choices there are, without composing a configuration.

Hydra's own page composes one for each group to list what lies in a folder, which takes seconds.
"""

import textwrap
from importlib.resources import files
from importlib.resources.abc import Traversable

import yaml

FLAGS = """\
  -m, --multirun      several runs: one for each combination of the values that keys are given
  --cfg job           show the composed configuration, run nothing
  --config-dir DIR    take choices from a folder of one's own as well
  --hydra-help        Hydra's flags"""


def page() -> str:
    """The text."""
    conf = files("trajlab.conf")
    words = yaml.safe_load((conf / "config.yaml").read_text())["hydra"]["help"]
    groups = "\n".join(_group(name, choices) for name, choices in choices_by_group(conf).items())
    return (
        f"{words['header']}\nFlags\n{FLAGS}\n\nGroups and their choices (group=choice)\n{groups}\n\n{words['footer']}"
    )


def choices_by_group(conf: Traversable) -> dict[str, list[str]]:
    """What each group offers, both in alphabetical order."""
    folders = sorted((f for f in conf.iterdir() if f.is_dir() and f.name != "__pycache__"), key=lambda f: f.name)
    return {
        f.name: sorted(c.name.removesuffix(".yaml") for c in f.iterdir() if c.name.endswith(".yaml")) for f in folders
    }


def _group(name: str, choices: list[str]) -> str:
    return textwrap.fill(f"  {name}: {', '.join(choices)}", 110, subsequent_indent="      ", break_on_hyphens=False)
