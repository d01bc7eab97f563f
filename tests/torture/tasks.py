"""The commands that are tortured: every task on a tiny run, in the order in which one needs the other."""

from dataclasses import dataclass
from pathlib import Path

from tests.conftest import MICRO

EXPERIMENT = "tinystories_budget_small"
RUN = f"runs/{EXPERIMENT}/seed=0"
SMALL = [
    *MICRO,
    "intervals.budget_tokens=640",
    "data.unique_tokens=320",
    "data.validation.valid.windows=2",
    "callbacks.checkpoint.every_steps=3",
    "trainer.threads=1",
    "+callbacks.lawa._target_=trajlab.callbacks.checkpoint_averaging.CheckpointAveraging",
    "+callbacks.lawa.averagers.lawa2={_target_: trajlab.averaging.lawa, k: 2, every_steps: 3, name: lawa2}",
]
"""Ten steps, three intervals, an average kept along, a checkpoint also between the intervals."""
SNAPSHOT = f"{RUN}/snapshots/tokens=000000000640.safetensors"


@dataclass(frozen=True)
class Task:
    """A command, given in a folder that holds what the command before it has left there."""

    name: str
    line: tuple[str, ...]
    follows: str | None = None
    """The task on whose result it works; None: on a folder with a corpus and nothing else."""


TEXT = (
    "data.source=texts/corpus.jsonl",
    "data.unique_tokens=1200",
    "data.context=16",
    "data.validation.valid.windows=2",
)

TASKS = (
    Task("prepare", (*MICRO, "task=prepare", *TEXT)),
    Task("train", tuple(SMALL)),
    Task("train on a file", (*SMALL, *TEXT)),
    Task("average", ("task=average", f"runs='{RUN}'", "scheme=lawa", "k=2", "variant=offline"), "train"),
    Task(
        "evaluate",
        (
            "task=evaluate", "series=trajlab_run", "name=again", "model.name=mine", f"model.series.run='{RUN}'",
            "data.source=embedded", "evaluation.documents=2", "evaluation.context=16", "averaging=lawa", "trainer.threads=1",
        ),
        "train",
    ),
    Task("export", (*MICRO, "task=export", f"snapshot='{SNAPSHOT}'", "to=exported"), "train"),
    Task("audit", ("task=audit", "series=trajlab_run", "name=looked", "model.name=mine", f"model.series.run='{RUN}'"), "train"),
    Task(
        "mixture",
        (
            "task=mixture", "small=exported", "large=exported", "to=mixed.jsonl", "data.source=embedded", "prompts=2",
            "new_tokens=4", "lambdas=[[1,0]]", "name=x",
        ),
        "export",
    ),
    Task("report of an audit", ("report", "runs/looked", "--out", "report"), "audit"),
    Task("report", ("report", "runs", "--out", "report"), "audit"),
)  # fmt: skip


def write_corpus(folder: Path) -> None:
    """A file of text that no cache knows: 80 documents, alike and yet different."""
    words = [
        "the",
        "sun",
        "rose",
        "over",
        "a",
        "small",
        "town",
        "and",
        "every",
        "child",
        "ran",
        "out",
        "to",
        "see",
        "what",
        "the",
        "night",
        "had",
        "left",
    ]
    lines = [" ".join(words[(i * k) % len(words)] for k in range(1, 40)) + f" on day {i}" for i in range(80)]
    (folder / "texts").mkdir(parents=True)
    (folder / "texts" / "corpus.jsonl").write_text("".join(f'{{"text": "{line}"}}\n' for line in lines))
