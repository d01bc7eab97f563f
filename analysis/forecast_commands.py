"""The commands ``contest`` and ``register`` of ``python -m trajlab.analysis``."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_contest(commands: Commands) -> None:  # type: ignore[valid-type]
    """The parser of ``contest``."""
    parser = commands.add_parser(  # type: ignore[attr-defined]
        "contest", help="forecast every curve of a file by every law from its first part, and score the rest"
    )
    parser.add_argument("curves", type=Path, nargs="+", help="Parquet or csv: curve, step, loss[, lr, family, run]")
    parser.add_argument("--out", type=Path, help="where scores.parquet, ranking.csv and contest.png go")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1, 0.2, 0.4, 0.6, 0.8], help="shares seen")
    parser.add_argument(
        "--laws", nargs="*", help="names of laws; all that fit in less than seconds unless given, or all"
    )
    parser.add_argument("--sample", type=int, help="that many curves alone, from the families in turn")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument(
        "--leave-family-out",
        action="store_true",
        help="rebuild the default's prior and bands from these curves without the family that is forecast",
    )
    parser.add_argument(
        "--rebuild", type=Path, help="write the prior and the calibration of these curves to this folder"
    )
    parser.add_argument(
        "--across", action="store_true", help="fit whole runs of a family and predict its others, into across.parquet"
    )
    parser.add_argument("--draws", type=int, default=2, help="with --across: fits per family and number of runs (2)")
    parser.add_argument("--page", nargs=2, metavar=("FILE", "NAME"), help="write the tables into a Markdown page")
    parser.set_defaults(do=contest)


def contest(options: argparse.Namespace) -> None:
    """Run the contest, and rebuild the default's numbers where asked."""
    from trajlab.analysis.curve_laws import laws
    from trajlab.analysis.forecasting.curve_files import read_curves
    from trajlab.analysis.forecasting.published_table import markdown, write_between
    from trajlab.analysis.forecasting.rebuild import Archive
    from trajlab.analysis.forecasting.tournament import COLUMNS, ranking, run_contest, sample

    if options.out is None and options.rebuild is None:
        raise ValueError("contest: say where to write with --out, or --rebuild for the default's numbers alone")
    known = {law.name: law for law in laws()}
    names = list(known) if options.laws == ["all"] else options.laws
    if unknown := set(names or ()) - set(known):
        raise ValueError(f"--laws {', '.join(sorted(unknown))}: not known; there are {', '.join(known)}, or all")
    if wrong := [f for f in options.fractions if not 0 < f < 1]:
        raise ValueError(f"--fractions {wrong[0]}: must lie between 0 and 1")
    curves = read_curves(options.curves)
    archive = Archive.of(curves) if options.leave_family_out or options.rebuild is not None else None
    if options.rebuild is not None and archive is not None:
        options.rebuild.mkdir(parents=True, exist_ok=True)
        tables = archive.tables()
        tables.prior.write(options.rebuild / "prior.csv")
        tables.calibration.write(options.rebuild / "calibration.csv")
        print(f"{options.rebuild / 'prior.csv'} and calibration.csv")
    if options.out is None:
        return
    if options.sample is not None:
        curves = sample(curves, options.sample, options.seed)
    if options.across:
        across(curves, None if names is None else [known[name] for name in names], options)
        return
    chosen, archive = (
        None if names is None else [known[name] for name in names],
        archive if options.leave_family_out else None,
    )
    keep = options.out / "kept"
    scored = run_contest(curves, options.fractions, chosen, archive, keep=keep, jobs=options.jobs)
    ranked = ranking(scored)
    write(options.out, scored[COLUMNS], ranked)
    if options.page is not None:
        page, name = Path(options.page[0]), options.page[1]
        write_between(page, name, markdown(scored, as_shown(options)))
        if (figure := f"figures/contest_{name}.svg") in page.read_text():
            write_figure(page.parent / figure, ranked)
    shown = ["fraction", "law", "families", "final", "low", "high", "final_inside", "width", "refused", "seconds"]
    print(ranked[shown].to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    print(f"{options.out / 'scores.parquet'}, ranking.csv and contest.png")


def across(curves: pd.DataFrame, laws: list[Any] | None, options: argparse.Namespace) -> None:
    """The contest across schedules."""
    from trajlab.analysis.forecasting.across import across_table, run_across
    from trajlab.analysis.forecasting.published_table import lines, write_between

    scored = run_across(curves, laws=laws, draws=options.draws, seed=options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    scored.to_parquet(options.out / "across.parquet", index=False)
    table = across_table(scored)
    if options.page is not None:
        write_between(Path(options.page[0]), options.page[1], f"`{as_shown(options)}`\n\n{lines(table)}")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.4f}"))
    print(options.out / "across.parquet")


def as_shown(options: argparse.Namespace) -> str:
    """The command that makes a table, for a page: names of files, and what changes the numbers."""
    words = ["python -m trajlab.analysis contest", *(path.name for path in options.curves)]
    words += ["--leave-family-out"] if options.leave_family_out else []
    words += ["--across", f"--draws {options.draws}"] if options.across else []
    words += [] if options.sample is None else [f"--sample {options.sample}"]
    words += [f"--seed {options.seed}"] if options.seed else []
    words += [] if options.laws is None else ["--laws", *options.laws]
    return " ".join([*words, "--out …"])


def write(out: Path, scored: pd.DataFrame, ranked: pd.DataFrame) -> None:
    """The contest's files in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    scored.to_parquet(out / "scores.parquet", index=False)
    ranked.to_csv(out / "ranking.csv", index=False, float_format="%.6g")
    write_figure(out / "contest.png", ranked)


def write_figure(path: Path, ranked: pd.DataFrame) -> None:
    """The contest's figure, in the format of the path's suffix."""
    from trajlab.analysis.figures.contest import contest_panels

    path.parent.mkdir(parents=True, exist_ok=True)
    contest_panels(ranked).savefig(path, bbox_inches="tight")


def add_register(commands: Commands) -> None:  # type: ignore[valid-type]
    """The parser of ``register``."""
    parser = commands.add_parser(  # type: ignore[attr-defined]
        "register", help="freeze the default's forecast of curves that are still in training, or score those frozen"
    )
    parser.add_argument("curves", type=Path, nargs="+", help="Parquet or csv: curve, step, loss[, lr, family, run]")
    parser.add_argument("--out", type=Path, required=True, help="the folder of registered forecasts")
    parser.add_argument("--horizon", type=float, help="the step to forecast; the last row's unless given")
    parser.add_argument(
        "--score", action="store_true", help="score what is registered with the losses that these files hold"
    )
    parser.set_defaults(do=register)


def register(options: argparse.Namespace) -> None:
    """Freeze forecasts, or score them."""
    from trajlab.analysis.forecasting.curve_files import read_curves
    from trajlab.analysis.forecasting.registered import register_curves, score_registered, unscored

    curves = read_curves(options.curves)
    if options.score:
        scored = score_registered(options.out, curves)
        print(scored.to_string(index=False))
        if waiting := unscored(options.out, scored):
            print(f"{len(waiting)} not scored, no loss at their end in these files: {', '.join(waiting)}")
        return
    for path in register_curves(curves, options.out, options.horizon):
        print(path)
