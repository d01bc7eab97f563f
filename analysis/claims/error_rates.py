"""How often each kind of verdict is wrong, as measured: copied from the table of docs/statistics.md, which a test compares."""

MEASURED: dict[str, float] = {
    "design": 0.0,
    "equal mean": 0.049,
    "paired over seeds": 0.046,
    "interval effect": 0.05,
    "place of the turn": 0.0,
    "volatility": 0.0,
    "backslides": 0.0,
    "stable phase": 0.0,
    "upward tokens": 0.15,
    "double descent": 0.009,
    "equal perplexity": 0.051,
    "R² over models": 0.0,
    "slope on size": 0.027,
}
"""Share of simulated data sets with a wrong verdict, under the worst null of each kind."""
