"""Curve files from anywhere: `read_curves`, a frame curve, step, loss, lr, family, run."""

from pathlib import Path

import pandas as pd

from trajlab.analysis.curve_laws.curves import split_curves
from trajlab.analysis.published.curve_tables import as_curves


def read_curves(paths: list[Path]) -> pd.DataFrame:
    """Parquet or csv files with columns curve, step, loss and, where known, lr, family and run; several become one frame.

    ``family`` is the curve's name where a file has none. The published file of cosine and WSD runs is recognised and its branches
    are joined to their trunks. Rows of a curve without a finite rate make its schedule unknown. Raises FileNotFoundError
    for a missing file, ValueError for a missing column, an unknown suffix, or a curve that two files hold.
    """
    frames = [_read(path) for path in paths]
    if not frames:
        raise ValueError("no curve file given")
    names = pd.concat([pd.Series(f["curve"].unique()) for f in frames], ignore_index=True)
    if names.duplicated().any():
        raise ValueError(f"curve {names[names.duplicated()].iloc[0]!r} is in two files; name the curves apart")
    curves = pd.concat(frames, ignore_index=True)
    split_curves(curves.drop(columns="lr"))  # steps and losses are checked once, here
    return curves


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such curve file")
    if path.suffix not in (".parquet", ".csv", ".gz"):
        raise ValueError(f"{path}: a curve file ends in .parquet, .csv or .csv.gz")
    frame = as_curves(pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path))
    missing = [c for c in ("curve", "step", "loss") if c not in frame]
    if missing:
        raise ValueError(
            f"{path}: no column {', '.join(missing)}; needed are curve, step, loss, and lr, family, run if known"
        )
    frame = frame.assign(curve=frame["curve"].astype(str))
    absent = {"lr": float("nan"), "family": frame["curve"], "run": frame["curve"]}
    frame = frame.assign(**{name: value for name, value in absent.items() if name not in frame})
    frame = frame.assign(family=frame["family"].astype(str))[["curve", "step", "loss", "lr", "family", "run"]]
    return frame.sort_values(["curve", "step"], kind="stable", ignore_index=True)
