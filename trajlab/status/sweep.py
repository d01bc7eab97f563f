"""A sweep as one line: how many of its runs are done, and how long all of them will take.

Hydra keeps the line that began a sweep in ``<runs_dir>/.sweeps/<time>/multirun.yaml``: it says which runs are to come.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import yaml

from trajlab.status.reading import Facts, facts
from trajlab.store import layout
from trajlab.terminal import duration, to_see

SWEEPS = ".sweeps"
FUNCTION = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag|extend_list)\(")
ENDED = ("finished", "diverged")


def sweep_lines(folder: Path, runs: Sequence[Facts], width: int) -> list[str]:
    """A line for the runs of each experiment that has several, or of which a sweep has runs to come."""
    plans = planned(folder)
    lines = []
    for place in dict.fromkeys(f.folder.parent for f in runs):
        mine = [f for f in runs if f.folder.parent == place]
        absent = plans.get(place.absolute(), set()) - {f.run for f in mine}
        if len(mine) + len(absent) > 1:
            lines.append(sweep_line(mine[0].experiment, mine, len(absent))[:width])
    return ["", *lines] if lines else []


def sweep_line(experiment: str, runs: Sequence[Facts], to_come: int) -> str:
    """``budget: 3 of 12 done, 2 running, 7 to come; 1 h 20 min left for all``."""
    states = Counter(f.state for f in runs)
    done = sum(states[s] for s in ENDED)
    told = [
        f"{done} of {len(runs) + to_come} done",
        *([f"{states['diverged']} of them diverged"] if states["diverged"] else []),
    ]
    told += [f"{states[s]} {s}" for s in ("running", "stopped", "unreadable") if states[s]]
    told += [f"{to_come} to come"] if to_come else []
    left = seconds_left(runs, to_come)
    return f"{experiment}: {', '.join(told)}" + ("" if left is None else f"; {duration(left)} left for all")


def seconds_left(runs: Sequence[Facts], to_come: int) -> float | None:
    """Until the last run ends, if as many go on side by side as now; None where none is running or none tells its speed."""
    running = [f for f in runs if f.state == "running"]
    speeds = [f.tokens_per_second for f in running if f.tokens_per_second]
    if not speeds or any(f.seconds_left is None for f in running):
        return None
    mean = sum(speeds) / len(speeds)
    waiting = sum((f.budget or 0) - (f.tokens or 0) for f in runs if f.state == "stopped")
    waiting += to_come * max((f.budget or 0) for f in runs)
    each = [f.seconds_left or 0.0 for f in running]
    return max(max(each), (sum(each) + waiting / mean) / len(running))


def planned(folder: Path) -> dict[Path, set[str]]:
    """By the folder of an experiment, the names of the runs that its newest sweep asks for.

    Sweeps kept below ``folder`` and beside it count. An older one may have been given up for good.
    """
    plans: dict[Path, set[str]] = {}
    here = folder.absolute()
    above = [p for root in here.parents[:2] for p in root.glob(f"{SWEEPS}/*/multirun.yaml")]
    below = here.rglob(f"{SWEEPS}/*/multirun.yaml")
    for file in sorted([*above, *below], key=lambda f: f.parent.name):  # named by the time at which they began
        try:
            overrides = yaml.safe_load(file.read_text())["hydra"]["overrides"]["task"]
            values = _values(overrides)
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            continue
        for experiment in _choices(values.get("name", values.get("experiment", ""))):
            plans[file.parents[2] / experiment] = run_names(values)
    return plans


def lines_before_the_sweep(overrides: Sequence[str]) -> list[str]:
    """For each experiment that a command line with ``-m`` asks for: how many runs, and how to see how far they are."""
    values = _values(overrides)
    count = len(run_names(values))
    told = f"{count} run{'s' if count != 1 else ''}; how far they are: python -m trajlab status {values.get('runs_dir', 'runs')}"
    return [f"{e}: {told}" for e in _choices(values.get("name", values.get("experiment", ""))) if count]


def lines_of_the_sweep(overrides: Sequence[str]) -> list[str]:
    """For each experiment that a command line with ``-m`` asks for, and of which runs are stored, a line and what to do next."""
    values = _values(overrides)
    lines = []
    for experiment in _choices(values.get("name", values.get("experiment", ""))):
        wanted, folder = run_names(values), Path(values.get("runs_dir", "runs")) / experiment
        there = [facts(f) for f in layout.run_folders(folder) if f.name in wanted] if folder.is_dir() else []
        lines += [sweep_line(experiment, there, len(wanted) - len(there)), to_see(folder)] if there else []
    return lines


def _values(overrides: Sequence[str]) -> dict[str, str]:
    return dict(o.lstrip("+").split("=", 1) for o in overrides if "=" in o)


def run_names(values: dict[str, str]) -> set[str]:
    """The names of a sweep's runs; none where a function of Hydra says what is swept."""
    keys = _choices(values.get("run_keys", "[seed]").strip("[]"))
    swept = [values.get(key, "0") for key in keys]
    if any(FUNCTION.match(text) for text in swept):
        return set()
    return {
        ",".join(f"{key}={value}" for key, value in zip(keys, job, strict=True)).replace("/", "-")
        for job in product(*(map(_as_stored, _choices(text)) for text in swept))
    }


def _choices(text: str) -> list[str]:
    """What stands between the commas that lie in no bracket and no quotes."""
    return [c.strip() for c in re.findall(r"(?:\[[^\]]*\]|\{[^}]*\}|'[^']*'|\"[^\"]*\"|[^,])+", text)]


def _as_stored(text: str) -> str:
    """A value as a run's name has it: ``3e-3`` is 0.003 there, ``'a'`` is a."""
    for kind in (int, float):
        try:
            return str(kind(text))
        except ValueError:
            continue
    return {"true": "True", "false": "False", "null": "None"}.get(text.lower(), text.strip("'\""))
