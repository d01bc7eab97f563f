"""A weight variant: other weights that are evaluated beside the run's own at every interval."""

from collections.abc import Iterator, Mapping

import lightning as L
from torch import Tensor


class HalfWayBack(L.Callback):
    """The mean of the present weights and those at the start of this process: how far has the run moved?"""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep a copy of the weights."""
        self.model = pl_module.model
        self.start = {name: p.detach().clone() for name, p in self.model.named_parameters()}

    def variants(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        """The variant's name and its parameters, float32 and by name."""
        now = dict(self.model.named_parameters())
        yield "half_way_back", {name: (now[name].detach() + start) / 2 for name, start in self.start.items()}
