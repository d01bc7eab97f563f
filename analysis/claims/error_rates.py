"""How often each kind of verdict is wrong, as `python -m analysis calibrate --verdicts --publish` measured and stored it."""

from csv import DictReader
from pathlib import Path

STORED = Path(__file__).with_name("error_rates.csv")


def _worst(stored: Path) -> dict[str, float]:
    worst = {"design": 0.0}  # nothing about a design is random
    with stored.open(encoding="utf-8", newline="") as file:
        for row in DictReader(file):
            if row["what"] == "verdict" and row["wrong"]:
                worst[row["kind"]] = max(worst.get(row["kind"], 0.0), float(row["wrong"]))
    return worst


MEASURED: dict[str, float] = _worst(STORED)
"""Share of simulated data sets with a wrong verdict, under the worst null of each kind."""
