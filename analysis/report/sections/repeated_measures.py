"""Repeated measures: is the interval effect real, where does training turn, how many seeds would it take."""

from functools import lru_cache

import pandas as pd

from trajlab.analysis.conditions import Condition, conditions
from trajlab.analysis.contrasts import planned_contrasts, planned_pairs, power_table
from trajlab.analysis.figures.statistics import contrast_intervals
from trajlab.analysis.load import Runs
from trajlab.analysis.repeated_measures import RMAnova, compare_tests, mixed_model, rm_anova, trend_test
from trajlab.analysis.report.section import Section
from trajlab.analysis.report.tables import p_words
from trajlab.analysis.stability import stability
from trajlab.analysis.statistics.calibration import calibrate, false_positives
from trajlab.analysis.turning_point import turning_point

MEASURES = {"loss": "validation loss", "ppl": "perplexity", "volatility": "rolling volatility"}
CALIBRATED_CELLS = 600
"""Largest seeds × intervals at which the report calibrates the tests itself: a second or two."""

READ = ("ANOVA, Greenhouse–Geisser", "sign flips of whole curves")
"""The two tests that docs/statistics.md recommends."""

CONTRAST = ("a", "b", "difference", "ci_low", "ci_high", "t", "df", "p", "p_holm", "g_av", "p_sign_flip")
"""What is shown of a contrast; the rest is in its CSV file."""

FEW_FOR_EFFECTS = 3
"""Degrees of freedom below which no effect size is shown: over two seeds Hedges' g reaches hundreds."""

LONGEST_FAMILY = 60
"""Contrasts beyond which a family is counted rather than listed."""


def section(runs: Runs) -> Section | None:
    """Every condition with at least two seeds."""
    part = Section("Repeated measures: seeds × intervals")
    for condition in conditions(runs):
        if condition.seeds < 2:
            part.text(f"Condition {condition.name} has one seed; repeated measures need at least two.")
            continue
        part.condition(condition.name, condition.seeds)
        try:
            _tests(part, condition)
            _contrasts(part, condition)
        except ValueError as e:
            part.problem(f"Not computed: {e}.")
    return part if part.blocks else None


def _tests(part: Section, condition: Condition) -> None:
    telemetry = stability(condition.intervals)
    n, k = condition.seeds, condition.intervals["interval"].nunique()
    for measure, words in MEASURES.items():
        frame = telemetry.dropna(subset=[measure]) if measure in telemetry else pd.DataFrame()
        if frame.empty:
            continue
        anova = rm_anova(frame, measure, "interval", "seed")
        part.text(f"{words.capitalize()}. {_anova_words(anova)}")
        tests = compare_tests(frame, measure, "interval", "seed")
        read = tests["test"].isin(READ)
        part.table(tests[read], f"The tests to read of an interval effect on {words}.", folded=measure != "loss")
        part.table(
            tests[~read],
            f"The other tests of an interval effect on {words}, most of them wrong for curves.",
            folded=True,
        )
    trend = trend_test(condition.intervals, "loss", "interval", "seed", degree=min(2, k - 1))
    part.table(trend.table(), "Linear (1) and quadratic (2) trend of the loss over intervals, t tests over seeds.")
    mixed = mixed_model(condition.intervals, "loss", "interval", "seed")
    part.table(
        mixed.table().drop(columns=["converged", "message"]),
        "Mixed model of the loss, seed intercept and AR(1) residuals."
        + ("" if mixed.converged else f" Not converged: {mixed.message}."),
    )
    _calibration(part, n, k)


def _anova_words(anova: RMAnova) -> str:
    low, high = anova.eta2_generalized_ci
    mauchly = (
        "undefined at this size" if anova.mauchly is None else f"W = {anova.mauchly.w:.3g}, {p_words(anova.mauchly.p)}"
    )
    return (
        f"F({anova.df1}, {anova.df2}) = {anova.f:,.1f}; ε GG {anova.eps_gg:.3f}, HF {anova.eps_hf:.3f}, lower bound "
        f"{anova.eps_lb:.3f}; GG {p_words(anova.p_gg)}, HF {p_words(anova.p_hf)}, lower bound {p_words(anova.p_lb)}, "
        f"uncorrected {p_words(anova.p_uncorrected)}. Partial η² {anova.eta2_partial:.3f} (95 % CI "
        f"{anova.eta2_partial_ci[0]:.3f} to {anova.eta2_partial_ci[1]:.3f}), generalised η² {anova.eta2_generalized:.3f} "
        f"({low:.3f} to {high:.3f}). Mauchly's test: {mauchly}."
    )


def _calibration(part: Section, n: int, k: int) -> None:
    if n * k > CALIBRATED_CELLS:
        part.text(f"To calibrate the tests at this size: python -m analysis calibrate --seeds {n} --intervals {k}.")
        return
    part.table(
        _calibrated(n, k),
        f"How often each test rejects at 5 % where there is no effect (percent of 500 simulated data sets of {n} seeds × {k} "
        "intervals). A test far above 5 under a random walk must not be read on a training curve.",
    )


@lru_cache(maxsize=32)
def _calibrated(n: int, k: int) -> pd.DataFrame:
    """The same for all conditions of one size, so it is simulated once."""
    return false_positives(calibrate(n, k, replicates=500, effects=(), n_permutations=199))


def _contrasts(part: Section, condition: Condition) -> None:
    columns = ("loss", "interval", "seed")
    turn = turning_point(condition.intervals, *columns)
    part.table(
        turn.table(),
        "Where training turns: p of a fall and of a rise over all intervals (largest statistic under sign flips), the "
        "intervals that may be the lowest, and both sizes with the lowest interval chosen by the other seeds.",
    )
    families = {"adjacent": planned_pairs(condition.intervals, *columns)["adjacent"]}
    titles = {"adjacent": "each interval to the next"}
    for family, pairs in families.items():
        if not pairs:
            continue
        table = planned_contrasts(condition.intervals, *columns, pairs)
        if len(table) > LONGEST_FAMILY:
            part.text(
                f"{len(table)} contrasts ({titles[family]}): {(table['p_holm'] <= 0.05).sum()} with Holm p ≤ .05."
            )
            continue
        few = table["df"].max() < FEW_FOR_EFFECTS
        part.table(
            table,
            f"Planned contrasts of the loss, {titles[family]}; Holm within the family. The CSV file holds more"
            + (", effect sizes too: over so few seeds they mean little." if few else "."),
            columns=[c for c in CONTRAST if not (few and c.startswith("g_"))],
        )
        if family == "adjacent":
            part.figure(
                contrast_intervals(table, caption=condition.caption, title="Change of loss, interval to interval"),
                f"{condition.name}_contrasts",
                "Mean change over seeds with its 95 % t interval.",
            )
    _power(part, condition)


def _power(part: Section, condition: Condition) -> None:
    change = stability(condition.intervals).dropna(subset=["delta"]).groupby("interval")["delta"].std()
    spread = float(change.median())
    if not spread > 0:
        return
    part.table(
        power_table(spread, [0.5 * spread, spread, 2 * spread, 3 * spread], family=len(change)),
        f"Seeds for 80 % power to see a change between neighbouring intervals (effect in nats), at the median sd over seeds of "
        f"such a change, {spread:.4g} nats, in a family of {len(change)} at 5 %.",
    )
