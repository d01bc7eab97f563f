"""What the tokens bought: price of each interval, best interval, when one could have stopped."""

from trajlab.analysis.conditions import conditions
from trajlab.analysis.diminishing_returns import BestInterval, best_interval, returns, stop_here, stopping_summary
from trajlab.analysis.figures.statistics import price_of_loss
from trajlab.analysis.figures.style import human_count
from trajlab.analysis.load import Runs
from trajlab.analysis.report.section import Section


def section(runs: Runs) -> Section | None:
    """Every condition with at least two intervals."""
    part = Section("What the tokens bought")
    for condition in conditions(runs):
        part.condition(condition.name, condition.seeds)
        try:
            best = best_interval(condition.intervals)
            table = returns(condition.intervals, condition.parameters)
            stops = stopping_summary(stop_here(condition.intervals))
        except ValueError as e:
            part.problem(f"Not computed: {e}.")
            continue
        part.text(_best_words(best))
        part.figure(
            price_of_loss(table, best.tokens, caption=condition.caption),
            f"{condition.name}_returns",
            "Loss removed per million tokens at each interval (hatched: loss rose) and in all.",
        )
        part.table(table, "Means over seeds: loss removed in each interval, and per million tokens, hour and exaFLOP.")
        part.table(
            stops,
            "Stop here: where each criterion would have stopped, means over seeds. Regret: loss there above the seed's lowest; "
            "kept regret: if the best snapshot so far is kept; fired: share of seeds in which it spoke at all.",
        )
    return part if part.blocks else None


def _best_words(best: BestInterval) -> str:
    return (
        f"Lowest mean loss {best.loss:.4f} at interval {best.interval}, {human_count(best.tokens)} tokens (95 % seed bootstrap "
        f"{human_count(best.tokens_low)} to {human_count(best.tokens_high)}; by seed: {', '.join(map(str, best.per_seed))}). "
        f"{100 * best.share_after:.0f} % of the budget was spent after it."
    )
