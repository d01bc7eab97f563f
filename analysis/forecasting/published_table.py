"""The contest's tables in a page of documentation: `write_between`, `markdown`, `lines`, `honest_width`.

What is written stands between two markers and is replaced whole, so that no number is copied by hand.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from trajlab.analysis.forecasting.archive import family_weights

LAST = "last value"


def write_between(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- contest: NAME -->`` and ``<!-- end -->``. Raises ValueError where the page has no such place."""
    begin, end = f"<!-- contest: {name} -->\n", "<!-- end -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page}: no place for this table; put the lines {begin.strip()} and {end} where it belongs")
    page.write_text(f"{before}{begin}{text}{end}{after}")


def markdown(scored: pd.DataFrame, command: str) -> str:
    """Two tables: every law at every fraction; the default by what lies ahead of a run."""
    curves, families = scored["curve"].nunique(), scored["family"].nunique()
    head = f"`{command}`: {curves} curves of {families} families.\n\n"
    return f"{head}{lines(by_law(scored))}\n{lines(by_situation(scored))}"


def by_law(scored: pd.DataFrame) -> pd.DataFrame:
    """One row per fraction and law: errors with the last value's where refused, coverage and widths of the forecasts made."""
    full = _with_last_value(scored)
    rows = []
    for (fraction, law), frame in full.groupby(["fraction", "law"]):
        made = frame[frame["refused"] == ""]
        held = made.groupby("family")["final_inside"].mean()
        rows.append(
            {
                "seen": f"{fraction:.0%}",
                "law": law,
                "MAE of the rest": frame["mae"].mean(),
                "median final error": frame["error"].median(),
                "in band": made["final_inside"].mean(),
                "in band, mean of families": held.mean(),
                "in 50 % band": made["half_inside"].mean() if "half_inside" in made else np.nan,
                "Winkler": made["winkler"].mean(),
                "CRPS": made["crps"].mean(),
                "width at the end": (made["final_high"] - made["final_low"]).mean(),
                "width that holds 90 %": honest_width(full[full["fraction"] == fraction], str(law)),
                "refused": (frame["refused"] != "").mean(),
                "order": frame["mae"].mean(),
            }
        )
    return pd.DataFrame(rows).sort_values(["seen", "order"]).drop(columns="order")


def by_situation(scored: pd.DataFrame) -> pd.DataFrame:
    """The default's final loss by what lies ahead: median |error|, its mean over families, coverage, width."""
    own = scored[(scored["law"] == "default") & (scored["refused"] == "")]
    own = own.assign(error=own["final_error"].abs(), width=own["final_high"] - own["final_low"])
    rows = []
    for (situation, fraction), frame in own.groupby(["situation", "fraction"]):
        families = frame.groupby("family")["error"].median()
        rows.append(
            {
                "default, ahead": situation,
                "seen": f"{fraction:.0%}",
                "curves": len(frame),
                "median final error": frame["error"].median(),
                "mean of families": families.mean(),
                "in band": frame["final_inside"].mean(),
                "width": frame["width"].mean(),
            }
        )
    return pd.DataFrame(rows)


def honest_width(scored: pd.DataFrame, law: str) -> float:
    """Mean width at the end of a law's band once it holds 90 % on families that it wasn't scaled on (one fraction).

    Every law gets what the default gets: half the width is its own band's, or the same everywhere, times the 90 % quantile of
    |error| over it in the other families; the narrower counts. Where a law is refused the last value's band stands. NaN for a
    single family.
    """
    own = scored[scored["law"] == law]
    if own["family"].nunique() < 2:
        return float("nan")
    band = np.maximum(own["final_high"] - own["final_low"], 1e-9).to_numpy() / 2
    error, families = own["error"].to_numpy(), own["family"].to_numpy()
    return min(_scaled_width(error, half, families) for half in (band, np.ones_like(band)))


def _scaled_width(error: np.ndarray, half: np.ndarray, families: np.ndarray) -> float:
    """Mean of 2 · half · factor, each family's factor taken from the others."""
    widths = []
    for family in np.unique(families):
        others = families != family
        z = (error / half)[others]
        order = np.argsort(z)
        weight = family_weights(list(families[others]))[order]
        level = min(1.0, 0.9 * (1 + 1 / len(np.unique(families[others]))))
        widths.append(2 * half[~others] * float(np.interp(level, np.cumsum(weight) - weight / 2, z[order])))
    return float(np.concatenate(widths).mean())


def _with_last_value(scored: pd.DataFrame) -> pd.DataFrame:
    """With the error and the band of the last value where a law is refused: that is what a user is left with."""
    keys = ["curve", "fraction"]
    last = scored[scored["law"] == LAST].set_index(keys)
    wanted = pd.MultiIndex.from_frame(scored[keys])
    columns = {"error": scored["final_error"].abs()}
    for name in ("mae", "final_low", "final_high"):
        columns[name] = scored[name].fillna(pd.Series(last[name].reindex(wanted).to_numpy(), scored.index))
    instead = pd.Series(last["final_error"].abs().reindex(wanted).to_numpy(), scored.index)
    return scored.assign(**{**columns, "error": columns["error"].fillna(instead)})


def lines(table: pd.DataFrame) -> str:
    """A Markdown table; shares in per cent, nats to four decimals."""
    shares = ("in band", "in band, mean of families", "in 50 % band", "refused")
    shown = table.copy()
    for name in table.columns:
        if name in shares:
            shown[name] = [f"{v:.0%}".replace("%", " %") if np.isfinite(v) else "" for v in table[name]]
        elif table[name].dtype.kind == "f":
            shown[name] = [f"{v:.4f}" if np.isfinite(v) else "" for v in table[name]]
        else:
            shown[name] = table[name].astype(str).str.replace("%", " %")
    rows = ["| " + " | ".join(row) + " |" for row in shown.astype(str).to_numpy()]
    head = "| " + " | ".join(map(str, table.columns)) + " |"
    return "\n".join([head, "|" + "---|" * len(table.columns), *rows]) + "\n"
