"""What the reader expects of a stored run: the format's number, the tables, their columns and types.

The writer has the same in a place of its own (`trajlab.store.tables`), since nothing here imports the rest of trajlab;
docs/tables.md says what each column means. A test holds the three together. Types are named as Arrow names them.
"""

import pyarrow as pa

FORMAT = 1
"""The format that is understood; a manifest without a number is older and is understood too."""

WHO = {"experiment": "string", "run": "string", "seed": "int64", "interval": "int64"}
STORE = {**WHO, "tokens": "int64", "step": "int64"}
EVALUATED = {**STORE, "variant": "string", "split": "string"}

COLUMNS: dict[str, dict[str, str]] = {
    "intervals": EVALUATED
    | {
        "mark_tokens": "int64",
        "epoch": "double",
        "unique_tokens": "int64",
        "nll_sum": "double",
        "nll_sq_sum": "double",
        "token_count": "int64",
        "window_nll": "list<item: double>",
        "byte_count": "int64",
        "loss": "double",
        "ppl": "double",
        "bits_per_byte": "double",
        "train_loss": "double",
        "grad_norm": "double",
        "lr": "double",
        "seconds_train": "double",
        "tokens_per_second": "double",
        "seconds_eval": "double",
    },
    "steps": STORE | {"train_loss": "double", "grad_norm": "double", "lr": "double", "seconds": "double"},
    "positions": EVALUATED | {"position": "int64", "nll_sum": "double", "nll_sq_sum": "double", "count": "int64"},
    "position_blocks": EVALUATED | {"block": "int64", "windows": "int64", "nll_sum": "list<item: double>"},
    "tokens": EVALUATED | {"probe": "int64", "nll": "float"},
    "probes": STORE
    | {
        "split": "string",
        "probe": "int64",
        "window": "int64",
        "position": "int64",
        "token_id": "int64",
        "token": "string",
        "frequency": "int64",
        "fingerprint": "string",
    },
    "forecasts": EVALUATED
    | {
        "law": "string",
        "target_tokens": "int64",
        "forecast": "double",
        "low": "double",
        "high": "double",
        "refused": "string",
    },
    "sequences": STORE
    | {
        "kind": "string",
        "level": "double",
        "level_large": "double",
        "decoding": "string",
        "sequence": "int64",
        "nll_sum": "double",
        "token_count": "int64",
    },
    "tasks": STORE
    | {"task": "string", "metric": "string", "value": "double", "stderr": "double", "n": "int64", "shots": "int64"},
    "task_items": STORE
    | {
        "task": "string",
        "item": "int64",
        "digest": "string",
        "gold": "int64",
        "gold_log_likelihood": "double",
        "correct": "double",
        "chance": "double",
        "option_log_likelihoods": "list<item: double>",
        "option_tokens": "list<item: int64>",
        "option_bytes": "list<item: int64>",
    },
    "checkpoints": STORE
    | {
        "revision": "string",
        "weights_hash": "string",
        "same_weights_as": "string",
        "parameters": "int64",
        "weights_bytes": "int64",
        "seconds_load": "double",
        "seconds_eval": "double",
    },
    "tensors": STORE
    | {
        "tensor": "string",
        "file": "string",
        "dtype": "string",
        "shape": "list<item: int64>",
        "digest": "string",
        "norm": "double",
        "nonfinite": "int64",
        "distance_first": "double",
        "distance_previous": "double",
    },
    "measured": STORE | {"measure": "string", "revision": "string", "seconds": "double"},
}
"""Column and type, by table."""

ORDER = ("experiment", "run", "variant", "split", "interval", "step", "position")
ORDER_OF = {"probes": ("experiment", "run", "split", "probe")}
"""Columns that a frame's rows are sorted by, where a table has another order than `ORDER`."""


def as_expected(table: str, rows: pa.Table) -> pa.Table:
    """The rows with each known column in its type; a column may be absent, as in runs of older versions.

    Raises ValueError, naming the column, where its values can't be of that type.
    """
    for place, field in enumerate(rows.schema):
        expected = COLUMNS.get(table, {}).get(field.name)
        if expected is None or str(field.type) == expected:
            continue
        try:
            column = rows.column(place).cast(_TYPES[expected])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
            raise ValueError(f"column {field.name} is of type {field.type}, expected is {expected} ({e})") from e
        rows = rows.set_column(place, field.name, column)
    return rows


_LISTS = (pa.list_(pa.float64()), pa.list_(pa.int64()))
_TYPES = {str(t): t for t in (pa.string(), pa.int64(), pa.float64(), pa.float32(), *_LISTS)}
