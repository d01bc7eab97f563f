"""``python -m analysis``: reports over stored runs. ``python -m analysis --help`` lists the commands."""

import argparse
import os
import shlex
import sys
import time
import warnings
import webbrowser
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from trajlab.analysis.forecast_commands import add_contest, add_register


def main(arguments: list[str] | None = None, program: str = "python -m analysis") -> None:
    """The command line. A mistake ends with one message and exit code 1; ``program`` is how it was called."""
    parser = argparse.ArgumentParser(prog=program, description="Tables, figures and reports from stored runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_report(commands)
    _add_calibrate(commands)
    add_contest(commands)
    add_register(commands)
    _add_publish(commands)
    _add_results(commands)
    typed = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(typed)
    options.as_typed = f"{program} {shlex.join(typed)}"
    try:
        options.do(options)
    except OSError as e:
        where = (
            f"{os.fsdecode(e.filename)}: {e.strerror}; make it readable, writable or roomier" if e.filename else f"{e}"
        )
        sys.exit(f"analysis: {where}")
    except ValueError as e:
        sys.exit(f"analysis: {e}")


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "report", help="tables and figures of the runs below a folder, as report.html and report.md"
    )
    parser.add_argument("runs", type=Path, help="a run's folder, an experiment's, or one above")
    parser.add_argument("--out", type=Path, help="where to write; reports/<name of the folder> unless given")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--watch",
        type=_seconds,
        nargs="?",
        const=30.0,
        metavar="SECONDS",
        help="write it again while a sweep runs, whenever the tables have changed; looks every SECONDS (30)",
    )
    parser.set_defaults(do=_report)


def _report(options: argparse.Namespace) -> None:
    page = _written(options)
    print(
        f"{page} (report.md and figures/ beside it; the page needs neither)\nto see it: xdg-open {shlex.quote(str(page))}"
    )
    if options.open and not webbrowser.open(page.resolve().as_uri()):
        print("analysis: no browser could be started here", file=sys.stderr)
    if options.watch:
        _watch(options)


def _written(options: argparse.Namespace) -> Path:
    """Read the runs as they stand now, and write their report; the page."""
    from trajlab.analysis.load import load_runs
    from trajlab.analysis.report import write_report

    out = options.out or Path("reports") / options.runs.resolve().name
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "left out")  # said below, without the place in the code
        warnings.filterwarnings("ignore", ".* not finished: ")  # the page says it
        runs = load_runs(options.runs)
    for problem in runs.problems:
        print(f"analysis: left out: {problem}", file=sys.stderr)
    title = f"Training trajectories: {options.runs.resolve().name}"
    return write_report(runs, out, title, command=options.as_typed)


def _watch(options: argparse.Namespace) -> None:
    """Write the report again whenever the tables have changed, until Ctrl-C."""
    print(f"watching {options.runs}, looking every {options.watch:g} s; Ctrl-C ends it", file=sys.stderr, flush=True)
    seen = _state(options.runs)
    try:
        while True:
            time.sleep(options.watch)
            if (now := _state(options.runs)) != seen:
                seen = now
                page = _written(options)
                print(f"{time.strftime('%H:%M:%S')} {page} written again: reload it", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("", file=sys.stderr)


def _state(runs: Path) -> tuple[int, int]:
    """What changes when a run writes: how many files there are, and when the newest was written."""
    times = [
        entry.stat().st_mtime_ns
        for pattern in ("*.parquet", "manifest.json")
        for entry in runs.rglob(pattern)
        if entry.exists()
    ]
    return len(times), max(times, default=0)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not 1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 1 to 86400")
    return seconds


def _add_publish(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("publish", help="copy finished runs, without weights, into a published study's folder")
    parser.add_argument("runs", type=Path, help="a run's folder, an experiment's, or one above")
    parser.add_argument("study", type=Path, help="the study's folder; its study.toml says what no table holds")
    parser.add_argument(
        "--leave-out", nargs="*", default=[], metavar="TABLE", help="tables that are too large to publish"
    )
    parser.add_argument(
        "--decimals", nargs="*", default=[], metavar="TABLE.COLUMN=N", help="columns to round (tokens.nll=3)"
    )
    parser.add_argument(
        "--add", action="store_true", help="keep what was published before, but for runs of the same names"
    )
    parser.set_defaults(do=_publish)


def _publish(options: argparse.Namespace) -> None:
    from trajlab.analysis.results import publish

    decimals = {}
    for asked in options.decimals:
        column, _, places = asked.partition("=")
        if "." not in column or not places.isdigit():
            raise ValueError(f"--decimals {asked}: write a table's column and a number, tokens.nll=3")
        decimals[column] = int(places)
    size = publish(options.runs, options.study, add=options.add, leave_out=options.leave_out, decimals=decimals)
    print(f"{options.study}: {size / 1e6:.2f} MB of tables; now: python -m trajlab.analysis results {options.study}")


def _add_results(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "results", help="make README.md and report.html of published studies from their tables"
    )
    parser.add_argument("folder", type=Path, help="a study's folder, or one with several")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes, a study each (all cores)")
    parser.set_defaults(do=_results)


def _results(options: argparse.Namespace) -> None:
    from trajlab.analysis.results import rebuild, studies

    found = studies(options.folder)
    if min(options.jobs, len(found)) < 2:
        for study in found:
            print(rebuild(study), flush=True)
        return
    # else the threads of each process wait at every small sum for those of the others
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    with ProcessPoolExecutor(min(options.jobs, len(found)), mp_context=get_context("spawn")) as pool:
        for page in pool.map(rebuild, found):
            print(page, flush=True)


def _add_calibrate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "calibrate",
        help="false-positive rate and power of every test of an interval effect at your number of seeds and intervals",
    )
    parser.add_argument("--seeds", type=int, default=6, help="seeds, the subjects (6)")
    parser.add_argument("--intervals", type=int, default=21, help="intervals (21)")
    parser.add_argument("--replicates", type=int, help="simulated data sets per cell (2000; --verdicts: 1000)")
    parser.add_argument("--effects", type=float, nargs="*", default=[0.25, 0.5, 1.0], help="sizes; none: errors only")
    parser.add_argument("--alpha", type=float, default=0.05, help="level (0.05)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation (0)")
    parser.add_argument("--verdicts", action="store_true", help="every verdict and interval of a report instead")
    parser.add_argument("--kinds", nargs="*", help="with --verdicts: these kinds alone")
    parser.add_argument("--jobs", type=int, default=1, help="with --verdicts: processes (1)")
    parser.add_argument(
        "--publish",
        type=Path,
        metavar="PAGE",
        help="with --verdicts: store the rates beside the claims and in this page",
    )
    parser.add_argument("--out", type=Path, default=Path("reports/calibration"), help="where to write")
    parser.set_defaults(do=_calibrate)


def _calibrate_verdicts(options: argparse.Namespace) -> None:
    from trajlab.analysis.claims.calibration import calibrate_verdicts

    table = calibrate_verdicts(options.replicates, options.kinds, options.seed, options.jobs)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "verdicts.csv", index=False)
    if options.publish:
        from trajlab.analysis.claims.calibration.page import publish

        publish(table, options.publish)
    print("Share of data sets with a wrong verdict or an interval that misses; right: the word for what was planted.")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3f}", na_rep=""))
    print(options.out / "verdicts.csv")


def _calibrate(options: argparse.Namespace) -> None:
    if options.verdicts:
        return _calibrate_verdicts(options)
    from trajlab.analysis.figures.statistics import calibration_panels
    from trajlab.analysis.statistics.calibration import calibrate, false_positives

    table = calibrate(
        options.seeds,
        options.intervals,
        replicates=options.replicates or 2000,
        effects=options.effects,
        alpha=options.alpha,
        seed=options.seed,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "calibration.csv", index=False)
    caption = f"{options.replicates or 2000} replicates per point, seed {options.seed}; bars: 95 % Clopper–Pearson"
    calibration_panels(table, caption=caption).savefig(options.out / "calibration.png", bbox_inches="tight")
    print(f"Rejected at {options.alpha:g} where there is no effect, percent of {options.replicates or 2000}:")
    print(false_positives(table).to_string(index=False, float_format=lambda x: f"{x:.2f}"))
    print(f"{options.out / 'calibration.csv'} and calibration.png")


if __name__ == "__main__":
    main()
