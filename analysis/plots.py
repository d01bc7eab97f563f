"""Any column over any other, in the house style: `plot(frame, x, y, hue)`."""

import pandas as pd
from matplotlib.figure import Figure

from trajlab.analysis.figures.curves import LABELS, seed_band
from trajlab.analysis.figures.style import PALETTE, beside, new_figure, token_axis


def plot(
    frame: pd.DataFrame,
    x: str = "tokens",
    y: str = "loss",
    hue: str | None = None,
    *,
    title: str = "",
    caption: str = "",
) -> Figure:
    """Column ``y`` against ``x``: each run thin, the mean over runs with its 95 % t interval thick, a colour for each ``hue``.

    ``frame`` has a row per run and ``x``, as the tables of `load_runs` have for one variant and split; a column of your own
    will do as well. Raises ValueError for a column that isn't there, and where a run has an ``x`` twice within one hue.

    >>> import pandas as pd
    >>> rows = [{"run": f"seed={s}", "tokens": t, "loss": 5 - t / 9 + s / 50} for s in range(3) for t in range(9)]
    >>> plot(pd.DataFrame(rows)).axes[0].get_ylabel()
    'loss (nats per token)'
    """
    for column in (x, y, "run", *([hue] if hue else [])):
        if column not in frame:
            raise ValueError(f"no column {column} in the frame; it has {', '.join(map(str, frame.columns))}")
    shown = frame.dropna(subset=[x, y]).sort_values(x)
    one = [c for c in ("experiment", "run", hue, x) if c and c in shown]
    if shown.duplicated(one).any():
        several = [c for c in ("variant", "split") if c in shown and c != hue and len(shown[c].unique()) > 1]
        remedy = f"choose one {' and '.join(several)} or give hue=" if several else "aggregate the rows, or give hue="
        raise ValueError(f"some runs have several rows at one value of {x}; {remedy}")
    figure, (ax,) = new_figure(title, caption)
    who = [c for c in ("experiment", "run") if c in shown]
    groups = shown.groupby(hue, sort=False) if hue else [("mean", shown)]
    for place, (name, rows) in enumerate(groups):
        drawn = pd.DataFrame({"run": rows.groupby(who).ngroup(), "condition": "", "tokens": rows[x], y: rows[y]})
        seed_band(ax, drawn, y, PALETTE[place % len(PALETTE)], str(name))
    ax.set_xlabel(LABELS.get(x, x.replace("_", " ")))
    ax.set_ylabel(LABELS.get(y, y.replace("_", " ")))
    if x == "tokens":
        token_axis(ax)
    beside(ax)
    return figure
