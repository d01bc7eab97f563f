"""Sequences along a series: sums before divisions, what is compared with what."""

import numpy as np
import pandas as pd
import pytest

from trajlab.analysis.sequences import response, sequence_perplexity, size_response


def table() -> pd.DataFrame:
    """Two models, three checkpoints, two sequences of unequal length for each kind of text."""
    rows = []
    for run, size in (("small", 1e6), ("large", 1e8)):
        for interval in range(3):
            for kind, level, loss in (("correct", None, 3.0), ("random", 0.2, 5.0), ("random", 1.0, 8.0)):
                mean = loss - 0.5 * interval - 0.1 * np.log(size / 1e6)
                rows += [("e", run, interval, interval, 100 * interval, kind, level, None, 0, mean * 10, 10)]
                rows += [("e", run, interval, interval, 100 * interval, kind, level, None, 1, (mean + 0.6) * 50, 50)]
            bounce = abs(interval - 1) * 0.3 + (0.2 if run == "large" else 0)
            rows += [("e", run, interval, interval, 100 * interval, "mixture", -1.0, "greedy", 0, (2 + bounce) * 5, 5)]
    columns = [
        "experiment",
        "run",
        "interval",
        "step",
        "tokens",
        "kind",
        "level",
        "decoding",
        "sequence",
        "nll_sum",
        "token_count",
    ]
    return pd.DataFrame(rows, columns=columns)


def test_long_sequences_count_for_their_tokens() -> None:
    found = sequence_perplexity(table())
    first = found[(found["run"] == "small") & (found["kind"] == "correct") & (found["interval"] == 0)].iloc[0]
    assert first["loss"] == pytest.approx((3.0 * 10 + 3.6 * 50) / 60)
    assert first["ppl"] == pytest.approx(np.exp(3.5))
    assert first["sequences"] == 2
    assert len(found) == 2 * 3 * 4


def test_response_compares_with_the_correct_text_of_the_same_run() -> None:
    found = response(sequence_perplexity(table())).set_index(["run", "kind", "level"])
    assert found.loc[("small", "random", 1.0), "over_correct"] == pytest.approx(np.exp(5))
    mixture = found.loc[("small", "mixture", -1.0)]
    assert mixture["last_ppl"] / mixture["lowest_ppl"] == pytest.approx(np.exp(0.3))
    assert "rise" not in found, "last over lowest is over 1 in every noisy curve: nothing is concluded from it"


def test_slope_with_size_has_the_sign_of_what_was_planted() -> None:
    found = size_response(sequence_perplexity(table()), {("e", "small"): 1e6, ("e", "large"): 1e8})
    slope = found.set_index("kind")["slope"]
    assert slope["correct"] == pytest.approx(-0.1)
    assert slope["mixture"] == pytest.approx(0.2 / np.log(100))


def test_one_size_has_no_slope() -> None:
    assert size_response(sequence_perplexity(table()), {("e", "small"): 1e6}).empty


def test_other_sequences_at_another_checkpoint_are_refused() -> None:
    with pytest.raises(ValueError, match="has 10 tokens at one checkpoint and 60 at another"):
        sequence_perplexity(table().drop(index=1))


def test_families_are_kept_apart() -> None:
    both = pd.concat([table(), table().assign(run=lambda t: t["run"] + "-2", nll_sum=lambda t: 3 * t["nll_sum"])])
    sizes = {("e", run + tail): size for run, size in (("small", 1e6), ("large", 1e8)) for tail in ("", "-2")}
    families = {key: "second" if key[1].endswith("-2") else "first" for key in sizes}
    found = size_response(sequence_perplexity(both), sizes, families)
    by = found[found["kind"] == "correct"].set_index("family")["slope"]
    assert by["second"] == pytest.approx(3 * by["first"])


def test_mixtures_differ_by_both_weights() -> None:
    two = pd.concat([table().assign(level_large=1.0), table().assign(level_large=0.5)])
    mixtures = sequence_perplexity(two).query("kind == 'mixture'")
    assert len(mixtures) == 2 * len(sequence_perplexity(table()).query("kind == 'mixture'"))


def test_wrong_text_is_compared_with_the_correct_text_of_the_same_sequences() -> None:
    """Ten documents, only the two easy ones could be contradicted: over all documents the wrong text looks likelier."""
    loss = {i: 1.0 if i < 2 else 3.0 for i in range(10)}
    rows = [("e", "r", 0, 0, 0, "correct", None, None, i, 10 * y, 10) for i, y in loss.items()]
    rows += [("e", "r", 0, 0, 0, "contradicted", None, None, i, 10 * (loss[i] + 0.1), 10) for i in range(2)]
    rows += [("e", "r", 0, 0, 0, "mixture", -1.0, "greedy", i, 10.0, 10) for i in range(2)]
    found = response(sequence_perplexity(pd.DataFrame(rows, columns=table().columns))).set_index("kind")
    assert found.loc["contradicted", "over_correct"] == pytest.approx(np.exp(0.1))
    assert np.isnan(found.loc["mixture", "over_correct"]), "generated text is of no document"


def test_sequences_without_a_correct_one_are_compared_with_nothing() -> None:
    found = response(sequence_perplexity(table()[lambda t: t["kind"] != "correct"]))
    assert found["over_correct"].isna().all()
