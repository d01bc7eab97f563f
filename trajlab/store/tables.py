"""The tables of the run store and the type of every column. docs/tables.md says what each column means.

A part's columns are, in this order: what the store adds (`STORE`), for losses the weights and the split that they
belong to (`EVALUATED`), and what was measured. Plug-ins may write any other table.
"""

from dataclasses import dataclass

import pyarrow as pa

STORE = {
    "experiment": pa.string(),
    "run": pa.string(),
    "seed": pa.int64(),
    "interval": pa.int64(),
    "tokens": pa.int64(),
    "step": pa.int64(),
}
"""Who and where: added to every row that lacks them."""

EVALUATED = {"variant": pa.string(), "split": pa.string()}
"""Which weights on which split: in the rows of every loss consumer."""


@dataclass(frozen=True)
class TableFormat:
    """One table's columns."""

    name: str
    measured: pa.Schema
    """What a row says beyond who, where, which weights and which split."""
    evaluated: bool = False
    """Whether the rows are those of a loss consumer, by variant and split."""

    @property
    def rows(self) -> pa.Schema:
        """What is handed to the store."""
        return _joined(EVALUATED if self.evaluated else {}, self.measured)

    @property
    def stored(self) -> pa.Schema:
        """What lies in a part."""
        return _joined({k: v for k, v in STORE.items() if k not in self.rows.names}, self.rows)


def _joined(first: dict[str, pa.DataType], then: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(n, t) for n, t in first.items()] + list(then))


INTERVALS = TableFormat(
    "intervals",
    pa.schema(
        {
            "mark_tokens": pa.int64(),
            "epoch": pa.float64(),
            "unique_tokens": pa.int64(),
            "nll_sum": pa.float64(),
            "nll_sq_sum": pa.float64(),
            "token_count": pa.int64(),
            "window_nll": pa.list_(pa.float64()),
            "byte_count": pa.int64(),
            "loss": pa.float64(),
            "ppl": pa.float64(),
            "bits_per_byte": pa.float64(),
            "train_loss": pa.float64(),
            "grad_norm": pa.float64(),
            "lr": pa.float64(),
            "seconds_train": pa.float64(),
            "tokens_per_second": pa.float64(),
            "seconds_eval": pa.float64(),
        }
    ),
    evaluated=True,
)
STEPS = TableFormat(
    "steps",
    pa.schema(
        {
            "step": pa.int64(),
            "tokens": pa.int64(),
            "train_loss": pa.float64(),
            "grad_norm": pa.float64(),
            "lr": pa.float64(),
            "seconds": pa.float64(),
        }
    ),
)
POSITIONS = TableFormat(
    "positions",
    pa.schema({"position": pa.int64(), "nll_sum": pa.float64(), "nll_sq_sum": pa.float64(), "count": pa.int64()}),
    evaluated=True,
)
POSITION_BLOCKS = TableFormat(
    "position_blocks",
    pa.schema({"block": pa.int64(), "windows": pa.int64(), "nll_sum": pa.list_(pa.float64())}),
    evaluated=True,
)
TOKENS = TableFormat("tokens", pa.schema({"probe": pa.int64(), "nll": pa.float32()}), evaluated=True)
PROBES = TableFormat(
    "probes",
    pa.schema(
        {
            "split": pa.string(),
            "probe": pa.int64(),
            "window": pa.int64(),
            "position": pa.int64(),
            "token_id": pa.int64(),
            "token": pa.string(),
            "frequency": pa.int64(),
            "fingerprint": pa.string(),
        }
    ),
)
FORECASTS = TableFormat(
    "forecasts",
    pa.schema(
        {
            "law": pa.string(),
            "target_tokens": pa.int64(),
            "forecast": pa.float64(),
            "low": pa.float64(),
            "high": pa.float64(),
            "refused": pa.string(),
        }
    ),
    evaluated=True,
)
SEQUENCES = TableFormat(
    "sequences",
    pa.schema(
        {
            "kind": pa.string(),
            "level": pa.float64(),
            "level_large": pa.float64(),
            "decoding": pa.string(),
            "sequence": pa.int64(),
            "nll_sum": pa.float64(),
            "token_count": pa.int64(),
        }
    ),
)
TASKS = TableFormat(
    "tasks",
    pa.schema(
        {
            "task": pa.string(),
            "metric": pa.string(),
            "value": pa.float64(),
            "stderr": pa.float64(),
            "n": pa.int64(),
            "shots": pa.int64(),
        }
    ),
)
TASK_ITEMS = TableFormat(
    "task_items",
    pa.schema(
        {
            "task": pa.string(),
            "item": pa.int64(),
            "digest": pa.string(),
            "gold": pa.int64(),
            "gold_log_likelihood": pa.float64(),
            "correct": pa.float64(),
            "chance": pa.float64(),
            "option_log_likelihoods": pa.list_(pa.float64()),
            "option_tokens": pa.list_(pa.int64()),
            "option_bytes": pa.list_(pa.int64()),
        }
    ),
)
CHECKPOINTS = TableFormat(
    "checkpoints",
    pa.schema(
        {
            "revision": pa.string(),
            "weights_hash": pa.string(),
            "same_weights_as": pa.string(),
            "parameters": pa.int64(),
            "weights_bytes": pa.int64(),
            "seconds_load": pa.float64(),
            "seconds_eval": pa.float64(),
        }
    ),
)
MEASURED = TableFormat(
    "measured", pa.schema({"measure": pa.string(), "revision": pa.string(), "seconds": pa.float64()})
)
TENSORS = TableFormat(
    "tensors",
    pa.schema(
        {
            "tensor": pa.string(),
            "file": pa.string(),
            "dtype": pa.string(),
            "shape": pa.list_(pa.int64()),
            "digest": pa.string(),
            "norm": pa.float64(),
            "nonfinite": pa.int64(),
            "distance_first": pa.float64(),
            "distance_previous": pa.float64(),
        }
    ),
)

TABLES = {
    t.name: t
    for t in (
        INTERVALS,
        STEPS,
        POSITIONS,
        POSITION_BLOCKS,
        TOKENS,
        PROBES,
        FORECASTS,
        SEQUENCES,
        TASKS,
        TASK_ITEMS,
        CHECKPOINTS,
        MEASURED,
        TENSORS,
    )
}
"""By name."""
