"""The processes that evaluate one series side by side, and what they leave for one another in the folder ``.workers``.

`Workers` says which others are there, gives out each checkpoint once (`claim`), and keeps what all agree on: the numbers
of the checkpoints, the measures asked for, the checkpoints that could not be opened. Whoever is the last to go removes it.
"""

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from trajlab.files import publish_json
from trajlab.store import layout
from trajlab.store.lease import SECONDS, Heart, Lease, Watch, holder, known

PRESENT = "present-*.lease"
POLL_SECONDS = 0.2
TURN_SECONDS = 600.0
"""How long a process waits for the folder's lock; another one may be giving all rows new numbers."""


class Locked(Protocol):
    """A run that can be kept from other processes (`trajlab.store.run_store.RunStore`)."""

    def lock(self, *, wait: float = 0.0) -> AbstractContextManager[None]:
        """Keep them from it."""
        ...


@dataclass
class Plan:
    """What the present processes were asked for together."""

    numbers: dict[tuple[int, str], int] = field(default_factory=dict)
    """Interval by step and revision."""
    measures: list[str] = field(default_factory=list)


class Workers:
    """This process among those that evaluate the series of a run's folder."""

    def __init__(self, run: Path, seconds: float = SECONDS) -> None:
        self.folder = run / layout.WORKERS
        self.seconds = seconds
        self._watch = Watch()
        self._heart = Heart(seconds)
        self._claims: dict[str, Lease] = {}
        self._present: Path | None = None

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Be one of them until the block ends; whatever is held then is given back, also after an error."""
        try:
            with self._heart.beating():
                yield
        finally:
            with suppress(OSError):  # others are here still
                self.folder.rmdir()

    @contextmanager
    def turn(self, store: "Locked") -> Iterator[None]:
        """Keep everybody else from the run for a moment, also where the folder's lock doesn't reach other machines."""
        with store.lock(wait=TURN_SECONDS):
            while (lease := Lease.take(self.folder / "turn.lease", self.seconds, self._watch)) is None:
                time.sleep(POLL_SECONDS)
            self._heart.keep(lease)
            try:
                yield
            finally:
                self._heart.drop(lease)

    def enter(self) -> None:
        """Show the others that this process is here."""
        self._present = self.folder / f"present-{os.getpid()}-{secrets.token_hex(4)}.lease"
        lease = Lease.take(self._present, self.seconds, self._watch)
        assert lease is not None  # nobody else knows the name
        self._heart.keep(lease)

    def others(self, *, certain: bool = False) -> list[str]:
        """The other processes, in words. One on another machine that has not been heard yet counts as here.

        With ``certain`` that one is listened to first, at most for its own number of seconds.
        """
        while True:
            paths = [p for p in sorted(self.folder.glob(PRESENT)) if p != self._present]
            here = {p: who for p in paths if (who := holder(p, self._watch)) is not None}
            if not certain or all(known(p, self._watch) for p in here):
                return list(here.values())
            time.sleep(POLL_SECONDS)

    # ---- checkpoints

    def claim(self, step: int, revision: str) -> bool:
        """Take a checkpoint that nobody has. False where another process has it."""
        name = _name(step, revision)
        lease = Lease.take(self.folder / f"{name}.lease", self.seconds, self._watch)
        if lease is None:
            return False
        self._claims[name] = self._heart.keep(lease)
        return True

    def held(self, step: int, revision: str) -> bool:
        """Whether another process has it."""
        name = _name(step, revision)
        return name not in self._claims and holder(self.folder / f"{name}.lease", self._watch) is not None

    def confirm(self, step: int, revision: str) -> None:
        """Raise LostLease where another process has taken a checkpoint over."""
        self._claims[_name(step, revision)].confirm()

    def give_back(self, step: int, revision: str) -> None:
        """It is done, or left."""
        if (lease := self._claims.pop(_name(step, revision), None)) is not None:
            self._heart.drop(lease)

    # ---- what all of them know

    def plan(self) -> Plan:
        """What has been agreed on."""
        found = _json(self.folder / "plan.json") or {}
        numbers = {(int(step), str(revision)): int(i) for step, revision, i in found.get("numbers", ())}
        return Plan(numbers, list(found.get("measures", ())))

    def agree(self, numbers: Mapping[tuple[int, str], int], measures: Sequence[str], *, alone: bool) -> None:
        """Add what this process was asked for to the plan; where it is ``alone``, what others left is forgotten."""
        plan = Plan() if alone else self.plan()
        if alone:
            for record in self.folder.glob("broken-*.json"):
                record.unlink(missing_ok=True)
        numbers = {**plan.numbers, **numbers}
        content = {
            "numbers": [[*key, i] for key, i in numbers.items()],
            "measures": list(dict.fromkeys([*plan.measures, *measures])),
        }
        publish_json(self.folder / "plan.json", content)

    def note_broken(self, step: int, revision: str, why: str) -> None:
        """No other process need try it."""
        entry = {"revision": revision, "step": step, "why": why}
        publish_json(self.folder / f"broken-{_name(step, revision)}.json", entry)

    def broken(self) -> list[dict[str, Any]]:
        """The checkpoints that could not be opened, in the order of their steps."""
        found = [e for p in self.folder.glob("broken-*.json") if (e := _json(p)) is not None]
        return sorted(found, key=lambda e: (e["step"], e["revision"]))

    def leave(self) -> None:
        """Remove what all knew, where nobody else is here."""
        if self.others():
            return
        kept = (self._present, self.folder / "turn.lease")
        for path in [p for p in self.folder.glob("*") if p not in kept]:
            with suppress(OSError):
                path.unlink()


def _name(step: int, revision: str) -> str:
    """A file's name for a checkpoint: readable, and no other's."""
    digest = hashlib.blake2b(f"{step}|{revision}".encode(), digest_size=4).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', revision)[-80:]}-{digest}"


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
