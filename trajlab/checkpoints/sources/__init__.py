"""Series of checkpoints: what a training run left behind, wherever it lies.

A `CheckpointSeries` lists its checkpoints in order and brings each one as a folder that `CheckpointModel` opens.
`HubSeries` takes them from the revisions of a hub repository, `FolderSeries` from local folders, `RunSeries` from the
snapshots of a trajlab run. `prefetched` brings the next one while the present one is used and gives back what
``cache=evict`` doesn't want to keep, so that at most two lie on the disk at once.
"""

from trajlab.checkpoints.sources.disk import on_disk
from trajlab.checkpoints.sources.folders import FolderSeries
from trajlab.checkpoints.sources.hub import HubSeries
from trajlab.checkpoints.sources.pattern import Pattern, expanded_steps
from trajlab.checkpoints.sources.run import RunSeries
from trajlab.checkpoints.sources.series import Checkpoint, CheckpointSeries, InOrder, Supply, Tidied, Wanted, prefetched

__all__ = [
    "Checkpoint",
    "CheckpointSeries",
    "FolderSeries",
    "HubSeries",
    "InOrder",
    "Pattern",
    "RunSeries",
    "Supply",
    "Tidied",
    "Wanted",
    "expanded_steps",
    "on_disk",
    "prefetched",
]
