"""The command line: span syntax, then Hydra. Nothing heavy is imported before a config is composed."""

import os
import re
import sys
import traceback
from contextlib import redirect_stderr
from importlib.resources import files
from typing import TextIO

import hydra
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from trajlab import interruption
from trajlab.errors import UserError, did_you_mean
from trajlab.terminal import first_process, say

SPAN = re.compile(r"(-?\d+)\.\.(-?\d+)")
MOST_RUNS = 10_000
MULTIRUN = ("-m", "--multirun")
SERIES = ("hf", "hf_folders", "opt", "pythia", "trajlab_run")
BENCHMARK_KEYS = ("tasks", "backend", "shots", "limit")


HYDRAS_LINE = "Error executing job with overrides:"
"""What Hydra writes before an error: the whole command line again, between a person and the answer."""


class CommandLineError(Exception):
    """Something on the line that can't be meant."""


class WithoutHydrasLine:
    """A stream that leaves out `HYDRAS_LINE`, which no setting of Hydra does; in all else the stream itself."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Pass the text on; the number of characters taken."""
        return len(text) if text.startswith(HYDRAS_LINE) else self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


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
    if high - low >= MOST_RUNS:
        raise CommandLineError(
            f"{override}: the span {item} names {high - low + 1:,} runs; at most {MOST_RUNS:,} are made at once"
        )
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
        written = zip(kept, overrides, strict=True)
        before = next((a for a, o in written if re.match(rf"[+~]*{re.escape(swept[0])}[@=]", o)), swept[0])
        raise CommandLineError(f"{before} asks for several runs; add -m to make them, or give one value")
    naming = [k for k in swept if k not in ("seed", "experiment")]
    if naming and not any(o.startswith("run_keys=") for o in overrides):
        overrides.append(f"run_keys=[{','.join(['seed', *naming])}]")
    return [*flags[:1], *overrides]


@hydra.main(version_base="1.3", config_path="pkg://trajlab.conf", config_name="config")
def job(config: DictConfig) -> None:
    """One job of the command line."""
    interruption.stop_if_asked()  # where a library swallowed the exception, the sweep ends here
    from trajlab.tasks import run

    try:
        run(config)
    except Exception as e:
        if (hydra := HydraConfig.get()).mode == RunMode.MULTIRUN:
            # the others go on, and Hydra will tell of one failure alone, at their end
            swept = ", ".join(o for o in hydra.overrides.task if o.partition("=")[0] in config.get("run_keys", ()))
            say(f"trajlab: job {hydra.job.num} ({swept}) failed: {explained(e, []) or f'{type(e).__name__}: {e}'}")
        raise


def run_line(argv: list[str]) -> None:
    """Do what the arguments after ``argv[0]`` ask for; they are replaced by what Hydra is given."""
    try:
        argv[1:] = command_line(argv[1:])
    except CommandLineError as e:
        sys.exit(f"trajlab: {e}")
    if os.environ.get("HYDRA_FULL_ERROR", "0") not in ("0", ""):
        job()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves exceptions to us; its own answer is up to 49 lines long
    try:
        with redirect_stderr(WithoutHydrasLine(sys.stderr)):  # type: ignore[type-var]
            _tell_of_the_sweep(argv[1:], begins=True)
            job()
        _tell_of_the_sweep(argv[1:])
    except Exception as e:
        _tell_of_the_sweep(argv[1:])
        if (told := explained(e, argv[1:])) is None:
            raise
        sys.exit(f"trajlab: {told}" if first_process() else 1)  # the others have the same to say, or follow the first
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


def _tell_of_the_sweep(arguments: list[str], begins: bool = False) -> None:
    """One line for a sweep that begins, how many runs it has, or that is over, how many of them are done."""
    if not set(MULTIRUN) & set(arguments) or any(a in ("--cfg", "-c", "--info") for a in arguments):
        return
    from trajlab.status.sweep import lines_before_the_sweep, lines_of_the_sweep

    for line in (lines_before_the_sweep if begins else lines_of_the_sweep)(arguments):
        say(line)


def explained(error: Exception, overrides: list[str]) -> str | None:
    """A mistake of the person at the keyboard, or of their machine, in words; None for a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        options = list(error.options or ())
        known = f"; there are {', '.join(options)}" if options else ""
        return f"{error.missing_cfg_file}: {group or 'configuration'} has no such choice{did_you_mean(choice, options)}{known}"
    if isinstance(error, OverrideParseException):
        return f"{error.override} can't be read as KEY=VALUE ({_one_line(error)}); quote what has =, comma or brackets in it"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _one_line(error).rstrip(".") + _suggestion(str(error), overrides)
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return f"{where}{error.strerror}; make it readable, writable or roomier, and write the same command again"
    last = list(traceback.walk_tb(error.__traceback__))[-1][0].f_globals.get("__name__", "")
    return _one_line(error) if last.startswith(("hydra.", "omegaconf.")) else None


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _suggestion(message: str, overrides: list[str]) -> str:
    """ ", did you mean optimizer.lr?" for a key that the configuration lacks."""
    named = re.search(r"override '([^']+)'", message) or re.search(
        r"Could not append value to config|'([^']+)'", message
    )
    if not named or not named[1]:
        return ""
    if (group := files("trajlab.conf") / named[1]).is_dir():
        known = sorted(f.name.removesuffix(".yaml") for f in group.iterdir() if f.name.endswith(".yaml"))
        return (
            f": {named[1]}=… takes the name of a file ({', '.join(known)}); write your own as {named[1]}/mine.yaml in a folder, "
            f"and --config-dir that folder {named[1]}=mine"
        )
    kept = [o for o in overrides if not o.startswith("-") and not o.lstrip("+~").startswith(named[1])]
    try:
        with initialize_config_module("trajlab.conf", version_base="1.3"):
            config = compose("config", overrides=[o for o in kept if "," not in o])
    except Exception:
        return ""
    return did_you_mean(named[1], _keys(config))


REFERENCE = re.compile(r"\$\{[\w.]+\}")


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    """All keys but those whose value is another key's: that one is the key to set."""
    keys = []
    for name, child in config.items_ex(resolve=False):
        if isinstance(child, str) and REFERENCE.fullmatch(child):
            continue
        keys.append(f"{prefix}{name!s}")
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            keys += _keys(child, f"{prefix}{name!s}.")
    return keys
