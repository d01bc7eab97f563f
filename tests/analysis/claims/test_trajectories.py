"""Verdicts on the study of checkpoint series: planted patterns, planted absence, and what must not be called a pattern."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.claims.trajectories import series_claims
from trajlab.analysis.load import Runs
from trajlab.analysis.token_trends.across_sizes import agreement, rise_and_fall
from trajlab.analysis.token_trends.chance import ar1, noise_of, upward_excess

SIZES = {"small": 1e6, "middle": 1e7, "large": 1e8}
CHECKPOINTS = 24


def series(**nll: np.ndarray) -> pd.DataFrame:
    """Table `tokens` of models by name, (M, C) each."""
    frames = []
    for run, nll_MC in nll.items():
        grid = pd.DataFrame(nll_MC).reset_index(names="probe").melt("probe", var_name="interval", value_name="nll")
        frames.append(grid.assign(experiment="e", run=run, variant="raw"))
    frame = pd.concat(frames, ignore_index=True).astype({"interval": int})
    return frame.assign(tokens=100 * frame["interval"], step=frame["interval"])


def tokens(learned_again: bool) -> pd.DataFrame:
    """Half of the tokens rise in the small model; the large one goes twice as far and brings them down, or does not."""
    rng, models = np.random.default_rng(0), {}
    for run, reach in (("small", 1.0), ("large", 2.0)):
        u = np.linspace(0, reach, CHECKPOINTS)
        late = 2 - np.maximum(u - 1, 0) * 3 if learned_again else 1 + u
        models[run] = np.repeat([5 - 2 * u, np.where(u < 1, 1 + u, late)], 30, axis=0)
        models[run] = models[run] + rng.normal(0, 0.02, (60, CHECKPOINTS))
    return series(**models)


def accuracy(on_size: float, sizes: dict[str, float] = SIZES) -> dict[str, pd.DataFrame]:
    rng, rows = np.random.default_rng(1), []
    for run, size in sizes.items():
        for i in range(1, 15):
            ppl = 3 + 40 * size**-0.1 + 30 / i
            value = 0.9 - 0.15 * np.log(ppl) + on_size * np.log(size) + rng.normal(0, 0.001)
            rows.append(("e", run, None, "raw", "valid", i, 1000 * i, i, ppl, value))
    columns = ["experiment", "run", "seed", "variant", "split", "interval", "tokens", "step", "ppl", "value"]
    frame = pd.DataFrame(rows, columns=columns)
    scores = frame[["experiment", "run", "step", "value"]].assign(task="t", metric="acc")
    return {"intervals": frame.drop(columns="value"), "tasks": scores}


def sequences(slope: float, kind: str = "random", sizes: dict[str, float] = SIZES) -> pd.DataFrame:
    rng, rows = np.random.default_rng(2), []
    for run, size in sizes.items():
        for sequence in range(20):
            loss = 6 + slope * np.log(size) + rng.normal(0, 0.1)
            rows.append(("e", run, 0, 0, 100, kind, 0.4, None, sequence, loss * 50, 50))
    columns = ["experiment", "run", "interval", "step", "tokens", "kind", "level", "decoding", "sequence"]
    return pd.DataFrame(rows, columns=[*columns, "nll_sum", "token_count"])


def found(**tables: pd.DataFrame) -> pd.DataFrame:
    manifests = [{"experiment": "e", "run": run, "seed": None, "parameters": int(size)} for run, size in SIZES.items()]
    table = series_claims(Runs(tables, manifests), n_bootstrap=100)
    return table.assign(short=[c.split(":")[0].split(" (")[0] for c in table["claim"]]).set_index("short")


def verdicts(**tables: pd.DataFrame) -> dict[str, str]:
    return dict(found(**tables)["verdict"])


@pytest.mark.parametrize(("again", "word"), [(True, "supported"), (False, "contradicted")])
def test_double_descent(again: bool, word: str) -> None:
    judged = verdicts(tokens=tokens(again))
    assert judged["some tokens grow less likely"] == "supported"
    assert judged["double descent"] == word


def test_where_everything_falls_nothing_descends_twice() -> None:
    """The small model is noise, so its upward tokens are any tokens; in the large one all fall: 1.000 [1, 1] once agreed."""
    rng = np.random.default_rng(4)
    small = 4 - 0.02 * np.linspace(0, 1, CHECKPOINTS) + 0.3 * rng.standard_normal((200, CHECKPOINTS))
    large = 5 - 3 * np.linspace(0, 1, CHECKPOINTS) + 0.05 * rng.standard_normal((200, CHECKPOINTS))
    assert verdicts(tokens=series(small=small, large=large))["double descent"] != "supported"
    parts = rise_and_fall(large, np.arange(200) < 20, 2, 12).mean()
    assert parts["fall"] > 1 > 0 > parts["rise"]


@pytest.mark.parametrize("phi", [0.8, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_trendless_tokens_are_not_upward_beyond_chance(phi: float, shared: float) -> None:
    """Against a nominal 2.5 % all of these agreed; 8 data sets each, of which two may err."""
    rng, wrong = np.random.default_rng(5), 0
    for seed in range(8):
        nll = 3 + 0.1 * ar1(phi, (150, 30), rng) + 0.1 * shared * ar1(phi, (30,), rng)
        excess = upward_excess(nll, np.arange(150) // 3, draws=30, seed=seed, tokens=60)
        wrong += excess.low > 0
    assert wrong <= 2


def test_a_random_walk_that_all_tokens_share_is_not_taken_for_less() -> None:
    """One series of 30 checkpoints looks stationary as often as not, and 15 % of data sets were called upward."""
    rng, seen = np.random.default_rng(6), []
    for _ in range(40):
        nll = 3 + 0.1 * ar1(0.8, (150, 30), rng) + 0.1 * ar1(1.0, (30,), rng)
        seen.append((noise_of(nll, 20, rng).shared_phi_B == 1).mean())
    assert np.mean(seen) > 0.85
    white = noise_of(3 + 0.1 * ar1(0.0, (150, 60), rng) + 0.1 * ar1(0.0, (60,), rng), 20, rng)
    assert (white.shared_phi_B < 0.95).all()  # what can be ruled out is


def test_independent_tokens_do_not_agree() -> None:
    """Equal means shrink every difference: independent tokens gave +0.100 [0.084, 0.115]."""
    rng = np.random.default_rng(6)
    level = 5 - 2 * np.linspace(0, 1, CHECKPOINTS)
    small, large = (
        level * a + rng.gamma(2.0, 0.7, (300, 1)) + 0.02 * rng.standard_normal((300, CHECKPOINTS)) for a in (1, 0.7)
    )
    name = "small and large agree at equal perplexity"
    assert verdicts(tokens=series(small=small, large=large))[name] == "undecided"
    same = 1.3 * rng.gamma(2.0, 0.7, (300, 1))
    both = {
        n: same + 1 + a * (level - 5) + 0.02 * rng.standard_normal((300, CHECKPOINTS))
        for n, a in (("small", 1.0), ("large", 1.6))
    }
    assert verdicts(tokens=series(**both))[name] == "supported"


def test_agreement_is_the_difference_to_all_permutations() -> None:
    a, b = np.random.default_rng(7).normal(size=(2, 9))
    apart = np.abs(a[:, None] - b)
    by_hand = (apart.sum() - apart.trace()) / 72 - apart.trace() / 9
    assert agreement(a, b).mean() == pytest.approx(by_hand)


@pytest.mark.parametrize(("on_size", "word"), [(0.0, "supported"), (0.05, "contradicted")])
def test_size_beside_perplexity(on_size: float, word: str) -> None:
    sizes = {f"m{i}": 10.0 ** (6 + i / 2) for i in range(6)}
    manifests = [{"experiment": "e", "run": r, "seed": None, "parameters": int(s)} for r, s in sizes.items()]
    table = series_claims(Runs(accuracy(on_size, sizes), manifests)).set_index("claim")
    (row,) = [row for name, row in table.iterrows() if str(name).startswith("size adds nothing")]
    assert row["verdict"] == word, row
    assert row["holds"] == "6 models"


def test_two_models_test_nothing() -> None:
    """Resampled over models, two gave [0.574, 0.574] and agreed."""
    two = {k: SIZES[k] for k in ("small", "large")}
    for tables in (accuracy(0.0, two), {"sequences": sequences(-0.2, sizes=two)}):
        table = found(**tables)
        assert len(table)
        assert (table["verdict"] == "not testable").all()
        assert table["reason"].str.contains("2 models").all()


@pytest.mark.parametrize(("slope", "word"), [(-0.2, "supported"), (0.2, "contradicted"), (0.0, "undecided")])
def test_noise_and_size(slope: float, word: str) -> None:
    assert verdicts(sequences=sequences(slope))["larger models find 40% random text likelier"] == word


@pytest.mark.parametrize(("slope", "word"), [(0.2, "supported"), (-0.2, "contradicted"), (0.0, "undecided")])
def test_mixtures_and_size(slope: float, word: str) -> None:
    judged = verdicts(sequences=sequences(slope, "mixture"))
    assert judged["larger models find text that mixtures invent less likely"] == word


def test_nothing_stored_claims_nothing() -> None:
    assert series_claims(Runs({})).empty
