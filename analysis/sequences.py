"""Whole sequences along a series of checkpoints (docs/methods.md §5): correct, randomised, contradicted and mixture text.

`sequence_perplexity` sums the table `sequences` up, `response` says which way each kind of text goes with training and,
across models, with size.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

KEYS = ["experiment", "run", "kind", "level", "level_large", "decoding"]
"""What tells one kind of text from another: ``level`` is the share randomised, or a mixture's λ of the small model, whose
λ of the large one is ``level_large``. Columns that a table lacks are left out."""


def _keys(frame: pd.DataFrame) -> list[str]:
    return [k for k in KEYS if k in frame]


def sequence_perplexity(sequences: pd.DataFrame) -> pd.DataFrame:
    """A row per run × checkpoint × kind × level × decoding: sequences, loss (nats per token) and ppl over all of them,
    and ``over_correct``, the perplexity over that of the correct text of the same documents.

    ``sequences``: the table, with experiment, run, interval, step, tokens, kind, level, [level_large,] decoding, sequence,
    nll_sum, token_count. Sums come before the division, so long sequences count for their tokens. Raises ValueError where the
    checkpoints of a run hold different sequences of a kind: their perplexities would not compare.
    """
    keys = _keys(sequences)
    groups = sequences.groupby([*keys, "interval", "step", "tokens"], dropna=False, sort=True)
    table = groups.agg(
        sequences=("sequence", "nunique"), nll_sum=("nll_sum", "sum"), token_count=("token_count", "sum")
    ).reset_index()
    counts = table.groupby(keys, dropna=False)["token_count"].agg(["min", "max"])
    if (uneven := counts["min"] < counts["max"]).any():
        kind, (low, high) = counts.index[uneven][0], counts[uneven].iloc[0]
        raise ValueError(
            f"table sequences: {dict(zip(keys, kind, strict=True))} has {low} tokens at one checkpoint and {high} at "
            "another; evaluate the series again"
        )
    table["loss"] = table["nll_sum"] / table["token_count"]
    table["ppl"] = np.exp(table["loss"])
    return _with_paired_ratio(table, sequences)


def _with_paired_ratio(table: pd.DataFrame, sequences: pd.DataFrame) -> pd.DataFrame:
    """With ``over_correct``: perplexity over that of the correct text of the same documents, those alone that both have.

    The number of a sequence names its document, except in mixtures, which continue prompts of their own.
    """
    place = ["experiment", "run", "interval", "step", "tokens"]
    sums = ["nll_sum", "token_count"]
    correct = sequences.loc[sequences["kind"] == "correct", [*place, "sequence", *sums]]
    changed = sequences[sequences["kind"] != "mixture"]
    pairs = changed.merge(correct, on=[*place, "sequence"], suffixes=("", "_correct"))
    both = pairs.groupby([*_keys(sequences), "interval", "step", "tokens"], dropna=False)[
        [*sums, *(f"{c}_correct" for c in sums)]
    ].sum()
    ratio = np.exp(both["nll_sum"] / both["token_count"] - both["nll_sum_correct"] / both["token_count_correct"])
    ratio = ratio.rename("over_correct").reset_index()
    return table.merge(ratio, how="left", on=[c for c in ratio if c != "over_correct"])


def response(perplexities: pd.DataFrame) -> pd.DataFrame:
    """How each kind of text ends: a row per run × kind × level × decoding.

    Columns: first_ppl, lowest_ppl, last_ppl. The lowest is the smallest of many noisy values, so that every curve ends above it:
    no rise is concluded from the two;
    over_correct = last ÷ that of the correct text of the same documents, NaN where there is none.
    """
    ordered = perplexities.sort_values("tokens", kind="stable")
    groups = ordered.groupby(_keys(ordered), dropna=False)
    table = groups["ppl"].agg(first_ppl="first", lowest_ppl="min", last_ppl="last")
    table["over_correct"] = groups["over_correct"].apply(lambda ratio: ratio.iloc[-1])
    return table.reset_index()


def size_response(
    perplexities: pd.DataFrame,
    parameters: Mapping[tuple[str, str], float],
    families: Mapping[tuple[str, str], str] | None = None,
) -> pd.DataFrame:
    """Whether larger models find a kind of text likelier: a row per experiment × kind × level × decoding.

    ``parameters`` maps (experiment, run) to the model's size. ``slope`` is that of the last loss on ln size, in nats: under
    0 the ordinary way, over 0 inverse scaling. ``families`` maps runs to groups that are kept apart, as models must be
    that did not score the same mixtures. Kinds with fewer than two sizes are left out.
    """
    ordered = perplexities.sort_values("tokens", kind="stable")
    last = ordered.groupby(_keys(ordered), dropna=False)["loss"].last().reset_index()
    runs = list(zip(last["experiment"], last["run"], strict=True))
    last["size"] = [parameters.get(key, np.nan) for key in runs]
    keys = [k for k in _keys(ordered) if k != "run"]
    if families:
        last["family"], keys = [families.get(key) for key in runs], [*keys, "family"]
    rows = []
    for values, group in last.dropna(subset="size").groupby(keys, dropna=False):
        if len(sizes := group["size"].unique()) > 1:
            slope = np.polyfit(np.log(group["size"]), group["loss"], 1)[0]
            rows.append({**dict(zip(keys, values, strict=True)), "sizes": len(sizes), "slope": slope})
    return pd.DataFrame(rows, columns=[*keys, "sizes", "slope"])
