"""How often the audit names two checkpoints that exchanged tensors, and nothing else: ``python -m tests.benchmarks.audit_exchanges``.

Small networks trained with AdamW. Each pair of their checkpoints exchanges the tensors of one of three shards in turn.
"""

import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from tests.trajlab.checkpoints.test_audit import State, trained
from tests.trajlab.tasks.test_audit_planted import FIRST
from trajlab.checkpoints.audit.tensor_facts import read_facts
from trajlab.checkpoints.audit.tensor_faults import tensor_faults
from trajlab.checkpoints.audit.trend import Audited
from trajlab.checkpoints.weights import write_weights

SEEDS, COUNT = (3, 4), 12


def audited(states: Sequence[State], folder: Path) -> list[Audited]:
    """Stored one by one and read again, as checkpoints are."""
    for number, state in enumerate(states):
        write_weights(folder / f"{number}.safetensors", state, {"format": "pt"})
    return [Audited(f"{n}", read_facts(folder / f"{n}.safetensors")) for n in range(len(states))]


def main() -> None:
    """Count and name the exceptions."""
    right = tried = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            clean = audited(trained(seed, count=COUNT), Path(folder))
            names = set(clean[0].facts)
            for shard in (FIRST, names - FIRST, {"2.weight", "2.bias"}):
                for one, other in combinations(range(COUNT), 2):
                    facts = [dict(c.facts) for c in clean]
                    for n in shard:
                        facts[one][n], facts[other][n] = facts[other][n], facts[one][n]
                    found = tensor_faults([Audited(c.revision, f) for c, f in zip(clean, facts, strict=True)])
                    told = {(f.kind, r) for f in found for r in f.revisions}
                    tried += 1
                    if told == {("mixed", str(one)), ("mixed", str(other))}:
                        right += 1
                    else:
                        print(f"seed {seed}, {one} and {other}, {sorted(shard)}: {sorted(told) or 'nothing'}")
    print(f"{right} of {tried} exchanges: both named, and nothing else")


if __name__ == "__main__":
    main()
