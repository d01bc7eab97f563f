"""Tables as people read them: headers with units, one number of decimals in a column, p values as ``< .0001``; and as CSV."""

import base64
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

SMALLEST_P = 1e-4
"""p values below are shown as ``< .0001``."""

DIGITS = 4
"""Significant digits of a column's median, which set the decimals of the whole column."""

HEADERS = {
    "sd": "sd",
    "cv": "CV",
    "n": "n",
    "f": "F",
    "p": "p",
    "ppl": "perplexity",
    "lr": "learning rate",
    "ci_low": "95 % CI from",
    "ci_high": "to",
    "p_holm": "p (Holm)",
    "p_gg": "p (GG)",
    "p_hf": "p (HF)",
    "g_av": "g (average sd)",
    "loss": "loss (nats)",
    "lowest_loss": "lowest loss (nats)",
    "final_loss": "final loss (nats)",
    "volatility": "volatility (nats)",
    "drawdown": "drawdown (nats)",
    "peak_volatility": "peak volatility (nats)",
    "max_drawdown": "largest drawdown (nats)",
    "final_drawdown": "final drawdown (nats)",
    "beyond_2se": "rises beyond 2 se (seeds)",
    "backslides": "rises",
    "backslides_2se": "rises beyond 2 se",
    "lowest_interval": "lowest at interval",
    "stable_from": "stable from interval",
    "stable_intervals": "stable intervals",
    "bought": "loss removed (nats)",
    "bought_total": "removed since start (nats)",
    "per_million_tokens": "nats per million tokens",
    "per_hour": "nats per hour",
    "per_exaflop": "nats per exaFLOP",
    "share_of_tokens": "share of tokens",
    "regret": "regret (nats)",
    "kept_regret": "regret, best kept (nats)",
    "worst_regret": "worst regret (nats)",
    "tokens_after_best": "tokens after the best",
    "fired": "fired (share of seeds)",
    "spike_score": "spike score (%)",
    "largest_z": "largest z",
    "mse": "mse (nats²)",
    "mae": "mae (nats)",
    "df": "df",
    "r2": "R²",
    "difference": "difference (nats)",
    "d_z": "d (z)",
    "band_low": "simultaneous band from",
    "band_high": "to ",
    "hedges_g": "Hedges' g",
    "p_fall": "p (fall)",
    "p_rise": "p (rise)",
    "fall": "fall (nats)",
    "fall_low": "fall: 95 % CI from",
    "fall_high": "fall: to",
    "rise": "rise (nats)",
    "rise_low": "rise: 95 % CI from",
    "rise_high": "rise: to",
    "best": "lowest at interval",
    "confidence_set": "intervals that may be the lowest",
    "p_sign_flip": "p (sign flips)",
    "mean_a": "loss at a (nats)",
    "mean_b": "loss at b (nats)",
    "g_low": "g: 95 % CI from",
    "g_high": "g: to",
    "phi": "φ, AR(1)",
    "sd_residual": "sd of residuals (nats)",
    "sd_seed": "sd of seeds (nats)",
    "effect": "effect (nats)",
    "margin": "margin",
    "holds": "interval holds",
    "error_rate": "wrong verdicts (share)",
    "seconds_load": "seconds to load",
    "parameters": "parameters",
    "first_ppl": "first perplexity",
    "lowest_ppl": "lowest perplexity",
    "last_ppl": "last perplexity",
    "mape": "mean relative error (share)",
    "final_error": "error at the end (nats)",
    "inside": "inside the band (share)",
    "target_at": "target: raw at",
}
"""What stands over a column; any other is its name with spaces."""


@dataclass(frozen=True)
class Column:
    """One column as text: its header, its cells, whether they are numbers, and what to sort them by."""

    header: str
    cells: list[str]
    numeric: bool
    keys: list[str]


def columns(frame: pd.DataFrame) -> list[Column]:
    """The frame's columns, formatted; its index isn't shown."""
    return [_column(name, frame.iloc[:, place]) for place, name in enumerate(frame.columns)]


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table."""
    shown = columns(frame)
    rows = [[c.header for c in shown], ["---:" if c.numeric else ":---" for c in shown]]
    rows += [[c.cells[i] for c in shown] for i in range(len(frame))]
    return "\n".join("| " + " | ".join(_md_cell(cell) for cell in row) + " |" for row in rows)


def csv_data(frame: pd.DataFrame) -> str:
    """The unrounded frame as a ``data:`` address of a CSV file."""
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(frame.to_csv(index=False).encode()).decode()


def header(name: Hashable) -> str:
    """A column's name in words: ``p_holm`` → ``p (Holm)``; of several levels, the last ones that say anything."""
    if isinstance(name, tuple):
        return " · ".join(header(level) for level in name if str(level))
    if isinstance(name, float | np.floating):
        return f"{name:g}"
    return HEADERS.get(str(name), str(name).replace("_", " "))


def p_value(p: float) -> str:
    """``< .0001``, ``.0312``; APA's way, without the zero before the point."""
    if not math.isfinite(p):
        return "–"
    return "< .0001" if p < SMALLEST_P else "> .9999" if p > 1 - SMALLEST_P else f"{p:.4f}".removeprefix("0")


def p_words(p: float) -> str:
    """``p < .0001``, ``p = .0312``."""
    return f"p {p_value(p)}" if p < SMALLEST_P or p > 1 - SMALLEST_P else f"p = {p_value(p)}"


def _column(name: Hashable, values: pd.Series) -> Column:
    listed = [None if _missing(v) or v == "–" else v for v in values.tolist()]
    present = [v for v in listed if v is not None]
    numeric = bool(present or values.dtype.kind in "fi") and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in present
    )
    if not numeric:
        cells = ["–" if v is None else _text(v) for v in listed]
        return Column(header(name), cells, False, cells)
    show = _number_format(str(name), present) if present else str
    cells = ["–" if v is None else show(float(v)).replace("-", "−") for v in listed]
    return Column(header(name), cells, True, ["" if v is None else repr(float(v)) for v in listed])


def _number_format(name: str, values: Sequence[float]):  # type: ignore[no-untyped-def]
    """How every number of a column is written."""
    if name == "p" or (name.startswith("p_") and all(0 <= v <= 1 for v in values if math.isfinite(v))):
        return p_value
    finite = [abs(v) for v in values if math.isfinite(v) and v]
    if name.startswith("tokens") or all(float(v).is_integer() for v in values if math.isfinite(v)):
        return lambda v: _outlier(v) or f"{v:,.0f}"
    if not finite:
        return lambda v: _outlier(v) or f"{v:g}"
    if min(finite) < 1e-5 * max(finite) and min(finite) < 1e-5:  # no one number of decimals serves both
        return lambda v: _outlier(v) or f"{v:.3g}"
    decimals = min(_decimals(float(np.median(finite))), max(DIGITS, _decimals(max(finite))))
    while decimals and all(abs(round(v, decimals - 1) - v) < 1e-9 * v for v in finite):
        decimals -= 1  # 17.4 and 4.6, not 17.400 and 4.600
    return lambda v: _outlier(v) or f"{v:,.{decimals}f}"


def _decimals(value: float) -> int:
    """Decimals that show `DIGITS` significant digits of a value."""
    return min(max(DIGITS - 1 - math.floor(math.log10(value)), 0), 8)


def _outlier(value: float) -> str:
    """What no number of decimals serves: the infinite; empty for all others."""
    return "" if math.isfinite(value) else "∞" if value > 0 else "−∞"


def _text(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (f"{value:,.0f}" if abs(value) >= 1e4 and float(value).is_integer() else f"{value:.4g}").replace(
            "-", "−"
        )
    return "yes" if value is True else "no" if value is False else str(value)


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _md_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
