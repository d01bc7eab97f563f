"""``python -m trajlab``: span syntax, then Hydra. Nothing heavy is imported before a config is composed."""

import re
import sys

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

SPAN = re.compile(r"(-?\d+)\.\.(-?\d+)")
MULTIRUN = ("-m", "--multirun")
SERIES = ("hf", "hf_folders", "opt", "pythia", "trajlab_run")
BENCHMARK_KEYS = ("tasks", "backend", "shots", "limit")


class CommandLineError(Exception):
    """Something on the line that can't be meant."""


def expand_spans(override: str) -> str:
    """``seed=0..3,7`` → ``seed=0,1,2,3,7``; anything without a span as it is.

    Raises CommandLineError for a span that runs backwards.
    """
    key, equals, value = override.partition("=")
    items = value.split(",")
    if not equals or not any(SPAN.fullmatch(item) for item in items):
        return override
    return f"{key}={','.join(_expanded(item, override) for item in items)}"


def _expanded(item: str, override: str) -> str:
    if not (match := SPAN.fullmatch(item)):
        return item
    low, high = int(match[1]), int(match[2])
    if high < low:
        raise CommandLineError(f"{override}: the span {item} is empty; write it upwards, {high}..{low}")
    return ",".join(str(i) for i in range(low, high + 1))


def present_spelling(override: str) -> str:
    """An override of an earlier version as it is written now: ``model=pythia`` → ``series=pythia``,
    ``task.shots=5`` → ``benchmark.shots=5``; any other as it is.
    """
    key, equals, value = override.partition("=")
    if equals and key == "model" and set(value.split(",")) <= set(SERIES):
        return f"series={value}"
    prefix, _, last = key.partition(".")
    if equals and prefix.lstrip("+") == "task" and last in BENCHMARK_KEYS:
        return f"benchmark.{last}={value}"
    return override


def swept_keys(overrides: list[str]) -> list[str]:
    """The keys that take several values, in their order on the line."""
    keys = []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            continue  # Hydra explains it better when it composes
        if override.is_sweep_override():
            keys.append(override.key_or_group)
    return keys


def command_line(arguments: list[str]) -> list[str]:
    """The arguments as Hydra wants them: spans expanded, flags first, the keys that name a run's folder spelled out."""
    flags = [a for a in arguments if a in MULTIRUN]
    kept = [a for a in arguments if a not in MULTIRUN]
    overrides = [a if a.startswith("-") else expand_spans(present_spelling(a)) for a in kept]
    swept = swept_keys([o for o in overrides if not o.startswith("-")])
    if swept and not flags:
        before = next(a for a, o in zip(kept, overrides, strict=True) if o.startswith(f"{swept[0]}="))
        raise CommandLineError(f"{before} asks for several runs; add -m to make them, or give one value")
    naming = [k for k in swept if k not in ("seed", "experiment")]
    if naming and not any(o.startswith("run_keys=") for o in overrides):
        overrides.append(f"run_keys=[{','.join(['seed', *naming])}]")
    return [*flags[:1], *overrides]


@hydra.main(version_base="1.3", config_path="pkg://trajlab.conf", config_name="config")
def job(config: DictConfig) -> None:
    """One job of the command line."""
    from trajlab.tasks import run

    run(config)


def main() -> None:
    """The command line."""
    if sys.argv[1:2] in (["report"], ["calibrate"]):  # of what is stored: no configuration is composed
        from trajlab.analysis.__main__ import main as analyse

        return analyse(sys.argv[1:], program="python -m trajlab")
    try:
        sys.argv[1:] = command_line(sys.argv[1:])
    except CommandLineError as e:
        sys.exit(f"trajlab: {e}")
    job()


if __name__ == "__main__":
    main()
