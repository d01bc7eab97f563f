"""The contest of laws as a figure: `contest_panels`."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trajlab.analysis.figures.style import PALETTE, legend, new_figure


def contest_panels(ranked: pd.DataFrame, *, caption: str = "", title: str = "") -> Figure:
    """Error of the final loss and coverage of its 90 % band by the share seen, one line per law, out of `ranking`'s table."""
    words = caption or "Left: mean over families of the median |error| of the final loss, bars 95 % over families."
    figure, (left, right) = new_figure(title or "Forecasts of the final loss", words, columns=2)
    for number, (law, frame) in enumerate(ranked.groupby("law", sort=True)):
        frame, color = frame.sort_values("fraction"), PALETTE[number % len(PALETTE)]
        error = np.abs(frame[["low", "high"]].to_numpy().T - frame["final"].to_numpy())
        left.errorbar(frame["fraction"], frame["final"], error, color=color, label=str(law), marker="o", markersize=3)
        right.plot(frame["fraction"], frame["final_inside"], color=color, marker="o", markersize=3)
    right.axhline(0.9, color="grey", linewidth=0.8, linestyle="--")
    left.set_yscale("log")
    left.set_ylabel("|error| of the final loss (nats)")
    right.set_ylabel("final losses inside the 90 % band")
    for ax in (left, right):
        ax.set_xlabel("share of the run seen")
    legend(left)
    return figure
