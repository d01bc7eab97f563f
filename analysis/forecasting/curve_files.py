"""Curve files from anywhere: `read_curves`, a frame curve, step, loss, lr, family, run."""

from pathlib import Path

import pandas as pd

from trajlab.analysis.curve_laws.curves import split_curves
from trajlab.analysis.forecasting.evidence import with_rates
from trajlab.analysis.published.curve_tables import as_curves


def read_curves(paths: list[Path]) -> pd.DataFrame:
    """Parquet or csv files with columns curve, step, loss and, where known, lr, family and run; several become one frame.

    ``family`` is the curve's name where a file tells none. The published file of cosine and WSD runs is recognised and its branches
    are joined to their trunks. Rates that are missing among others are filled in (`with_rates`); those that stay missing make
    the schedule unknown. Raises FileNotFoundError for a missing file, ValueError for a missing column, for what is no number,
    for an unknown suffix, and for a curve that two files hold.
    """
    frames = [_read(path) for path in paths]
    if not frames:
        raise ValueError("no curve file given")
    names = pd.concat([pd.Series(f["curve"].unique()) for f in frames], ignore_index=True)
    if names.duplicated().any():
        raise ValueError(f"curve {names[names.duplicated()].iloc[0]!r} is in two files; name the curves apart")
    curves = pd.concat(frames, ignore_index=True)
    split_curves(curves.drop(columns="lr"))  # steps and losses are checked once, here
    return with_rates(curves)


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such curve file")
    if path.suffix not in (".parquet", ".csv", ".gz"):
        raise ValueError(f"{path}: a curve file ends in .parquet, .csv or .csv.gz")
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    frame = frame.reset_index(drop=set(frame.index.names) <= {None, *frame.columns}).rename(columns=str.strip)
    frame = as_curves(frame)
    missing = [c for c in ("curve", "step", "loss") if c not in frame]
    if missing:
        raise ValueError(
            f"{path}: no column {', '.join(missing)}; needed are curve, step, loss, and lr, family, run if known"
        )
    frame = frame[frame["curve"].notna()]
    frame = frame.assign(curve=frame["curve"].astype(str), step=_numbers(frame, "step", path))
    frame = frame.assign(loss=_numbers(frame, "loss", path))
    frame = frame.assign(lr=_numbers(frame, "lr", path) if "lr" in frame else float("nan"))
    for name in ("family", "run"):
        said = frame[name] if name in frame else pd.Series(None, frame.index, object)
        frame = frame.assign(**{name: said.astype(object).where(said.notna(), frame["curve"]).astype(str)})
    return frame[["curve", "step", "loss", "lr", "family", "run"]].sort_values(
        ["curve", "step"], kind="stable", ignore_index=True
    )


def _numbers(frame: pd.DataFrame, name: str, path: Path) -> pd.Series:
    """A column as numbers, NaN where there is none. Raises ValueError that names what is no number."""
    try:
        return pd.to_numeric(frame[name]).astype(float)
    except (ValueError, TypeError) as e:
        raise ValueError(f"{path}: column {name} holds something that is no number: {e}") from e
