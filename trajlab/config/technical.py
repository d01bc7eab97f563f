"""Which keys of a configuration say what a run computes, and which only where or how loudly it does so.

`trajlab.store.identity` compares configurations by these tables. Whoever adds a key that older runs lack, and that
older runs behaved like one value of, names that value in `FORMERLY`; defaults of trajlab's own classes are found alone.
"""

from collections.abc import Mapping

TECHNICAL_KEYS = (
    "overwrite",
    "runs_dir",
    "run_keys",
    "run_dir",
    "logger",
    "study",
    "callbacks.progress",
    "trainer.threads",
    "trainer.devices",
    "trainer.strategy",
    "data.cache_dir",
    "data.hub_timeout",
    "model.series.cache",
    "model.series.cache_dir",
    "model.series.steps",
    "model.tokenizer",  # the ids that it makes are compared instead (data.fingerprint)
    "benchmark.tasks",
    "benchmark.items",
    "skip_broken",
    "worker",
    "lease_seconds",
)
"""A run may be resumed, or taken for finished, under other values of these keys and of all keys below them."""

FORMERLY: Mapping[str, object] = {
    "data.sample_seed": None,  # the first documents of the corpus
    "data.window_offset": "fixed",
    "evaluation.separator": "eos",
    "evaluation.begin_windows": False,
    "evaluation.align_last": False,
    "loss.position_weighting": "none",
    "trainer.on_nonfinite": "stop",
    "loss.position_factor": 0.5,  # without effect while the weighting is none
}
"""What a run did whose stored configuration is older than the key."""

KEEPS: Mapping[str, object] = {
    "trainer.compile": "auto",  # a run that is resumed stays compiled, or eager, as its manifest says
}
"""The value of a key that asks for nothing new of a run that is there: whatever it did, it goes on so."""

MOVED: Mapping[str, str] = {
    "task.tasks": "benchmark.tasks",
    "task.backend": "benchmark.backend",
    "task.shots": "benchmark.shots",
    "task.limit": "benchmark.limit",
}
"""Where a key of an older stored configuration stands today."""
