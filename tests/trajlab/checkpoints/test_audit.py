"""Each known fault of a published series, planted one at a time: the audit names it and nothing else."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trajlab.checkpoints.audit.listing import FileMark, Listing
from trajlab.checkpoints.audit.listing_faults import holes, listing_faults
from trajlab.checkpoints.audit.tensor_facts import read_facts
from trajlab.checkpoints.audit.tensor_faults import Audited, tensor_faults
from trajlab.checkpoints.sources.pattern import Pattern
from trajlab.checkpoints.weights import write_weights

State = dict[str, Tensor]
CHECKPOINTS = 20


def trained(seed: int, dtype: torch.dtype = torch.float32, count: int = CHECKPOINTS) -> list[State]:
    """A small network, trained with AdamW, after 0, 1, 2, 4, … 64 and then every 64 steps."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Embedding(40, 24), nn.LayerNorm(24), nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24), nn.LayerNorm(24),
        nn.Linear(24, 40, bias=False),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    marks = [0, 1, 2, 4, 8, 16, 32, *(64 * i for i in range(1, count))][:count]
    table = torch.randint(40, (40,))
    states, step = [], 0
    for mark in marks:
        while step < mark:
            x = torch.randint(40, (64,))
            loss = nn.functional.cross_entropy(net(x), torch.where(torch.rand(64) < 0.7, table[x], x))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        states.append({n: t.detach().to(dtype).clone() for n, t in net.state_dict().items()})
    return states


@pytest.fixture(scope="module")
def clean() -> list[State]:
    return trained(0)


@pytest.fixture
def found(clean: list[State], tmp_path: Path) -> Callable[..., list[tuple[str, tuple[str, ...], tuple[str, ...]]]]:
    """The faults of a series after ``plant`` has changed it."""

    def do(plant: Callable[[list[State]], object] = lambda s: None, states: list[State] | None = None):
        series = [{n: t.clone() for n, t in s.items()} for s in states or clean]
        plant(series)
        audited = []
        for number, state in enumerate(series):
            file = tmp_path / f"{number}.safetensors"
            write_weights(file, state, {})
            audited.append(Audited(f"c{number}", read_facts(file)))
        return [(f.kind, f.revisions, f.tensors) for f in tensor_faults(audited)]

    return do


Found = Callable[..., list[tuple[str, tuple[str, ...], tuple[str, ...]]]]


def _put(series: list[State], place: int, changes: Mapping[str, Tensor]) -> None:
    series[place] |= changes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_clean_series_gives_no_finding(found: Found, seed: int, dtype: torch.dtype) -> None:
    assert found(states=trained(seed, dtype)) == []


def test_same_weights(found: Found) -> None:
    assert found(lambda s: s.__setitem__(0, s[19])) == [("same_weights", ("c0", "c19"), ())]
    assert found(lambda s: s.__setitem__(7, s[6])) == [("same_weights", ("c6", "c7"), ())]


SHARD = ("4.weight", "4.bias", "5.weight", "6.weight")


@pytest.mark.parametrize("source", [9, 11, 12, 17, 4])
def test_a_checkpoint_from_two(found: Found, source: int) -> None:
    # of two neighbours either may be the one: the later is named
    expected = ("c11", "c10") if source == 11 else ("c10", f"c{source}")
    [(kind, revisions, tensors)] = found(lambda s: _put(s, 10, {n: s[source][n] for n in SHARD}))
    assert (kind, revisions, set(tensors)) == ("mixed", expected, set(SHARD))


def test_a_foreign_step_zero_and_checkpoint(found: Found) -> None:
    other = trained(5)
    assert found(lambda s: s.__setitem__(0, other[0])) == [("descent", ("c0", "c1"), ())]
    assert found(lambda s: s.__setitem__(12, other[12])) == [("foreign", ("c12",), ())]


def test_values_that_are_broken(found: Found) -> None:
    name = "2.weight"

    def spoil(value: float) -> Callable[[list[State]], object]:
        return lambda s: s[9][name][3].fill_(value)

    assert found(spoil(float("nan"))) == [("nonfinite", ("c9",), (name,))]
    assert found(spoil(float("inf"))) == [("nonfinite", ("c9",), (name,))]
    assert found(lambda s: s[9][name].zero_()) == [("zero", ("c9",), (name,))]
    assert found(lambda s: s[9]["2.bias"].zero_()) == [("zero", ("c9",), ("2.bias",))]


def test_a_wrong_type_and_other_tensors(found: Found) -> None:
    assert found(lambda s: s.__setitem__(9, {n: t.bfloat16() for n, t in s[9].items()}))[0][:2] == ("dtype", ("c9",))
    assert found(lambda s: s[9].pop("2.bias")) == [("tensors", ("c9",), ("2.bias",))]


@pytest.mark.parametrize("place", [3, 10, 19])
def test_a_tensor_that_jumps(found: Found, place: int) -> None:
    assert found(lambda s: s[place]["4.weight"].mul_(-1)) == [("jump", (f"c{place}",), ("4.weight",))]


def test_a_tensor_that_stands_still(found: Found) -> None:
    still = [("still", ("c10",), ("4.weight",))]
    assert found(lambda s: _put(s, 10, {"4.weight": s[9]["4.weight"]})) == still

    def never(series: list[State]) -> None:
        for state in series:
            state["4.weight"] = series[0]["4.weight"].clone()

    assert found(never) == [("still", ("c0", "c19"), ("4.weight",))]


# ---- listings


def _listing(**changes: Mapping[str, FileMark] | None) -> Listing:
    """Twenty revisions of two shards each, as the hub's metadata tells them."""
    files: dict[str, Mapping[str, FileMark]] = {}
    for step in range(1000, 21000, 1000):
        files[f"step{step}"] = {
            "config.json": FileMark(700, "c"), "tokenizer.json": FileMark(9000, "t"),
            "model-00001-of-00002.safetensors": FileMark(5_000_000, f"a{step}"),
            "model-00002-of-00002.safetensors": FileMark(4_000_000, f"b{step}"),
        }  # fmt: skip
    for revision, change in changes.items():
        if change is None:
            del files[revision]
        else:
            files[revision] = {**files.get(revision, {}), **change}
    content = {"c": {"layers": 2, "transformers_version": "4"}, "c2": {"layers": 2, "transformers_version": "5"}}
    content |= {"c3": {"layers": 3}, "t": {"model": 1}, "t2": {"model": 2}}
    read = lambda revision, name: json.dumps(content[str(files[revision][name].digest)]).encode()  # noqa: E731
    return Listing(files, read, list(files))


def _told(listing: Listing, **options: object) -> list[tuple[str, tuple[str, ...]]]:
    found = listing_faults(listing, Pattern("step{step}", 1), **options)  # type: ignore[arg-type]
    return [(f.kind, f.revisions) for f in found]


FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def test_a_clean_listing_gives_no_finding() -> None:
    assert _told(_listing()) == []
    assert _told(_listing(step3000={"config.json": FileMark(700, "c2")})) == [], "who wrote a file is no fault"


@pytest.mark.parametrize(
    ("changes", "kind", "revisions"),
    [
        ({"step3000": {FIRST: FileMark(5_000_000, "a9000"), SECOND: FileMark(4_000_000, "b9000")}},
         "same_weights", ("step3000", "step9000")),
        ({"step9000": {SECOND: FileMark(4_000_000, "b3000")}}, "mixed", ("step9000", "step3000")),
        ({"step3000": {"config.json": FileMark(700, "c3")}}, "config", ("step3000",)),
        ({"step3000": {"tokenizer.json": FileMark(700, "t2")}}, "tokenizer", ("step3000",)),
        ({"step3000": {FIRST: FileMark(2_500_000, "x"), SECOND: FileMark(2_000_000, "y")}}, "dtype", ("step3000",)),
        ({"step5000": None}, "missing", ("step5000",)),
        ({"step5500": {"config.json": FileMark(7, "c"), "tokenizer.json": FileMark(9, "t"),
                       FIRST: FileMark(5_000_000, "p"), SECOND: FileMark(4_000_000, "q")}}, "extra", ("step5500",)),
    ],
)  # fmt: skip
def test_a_listing_tells_its_fault(changes: dict, kind: str, revisions: tuple[str, ...]) -> None:
    assert _told(_listing(**changes)) == [(kind, revisions)]


def test_gaps_are_only_seen_where_there_is_a_grid() -> None:
    assert holes([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 9000, 1000)]) == []
    assert holes([0, 1, 2, 4, 512, *range(1000, 5000, 1000), *range(6000, 20000, 1000)]) == [5000]
    assert holes([0, 1000, 2000, 3000, 4000, 5000, 10000, 20000]) == []
    assert holes([0, 1, 2, 4]) == []
