"""The LightningDataModule: prepared tokens in, a run's batches out, from whichever step it stands at."""

import lightning as L

from trajlab.data.packed import TrainingBatches
from trajlab.data.prepare import PreparedData


class TokenDataModule(L.LightningDataModule):
    """Training batches of prepared data.

    The loader is no DataLoader: its batches are a pure function of (seed, step), so a resumed run gets those that the
    uninterrupted one would have had, and nothing is drawn from the global generator.
    """

    def __init__(self, data: PreparedData, seed: int, windows_per_step: int, *, random_offset: bool = False) -> None:
        super().__init__()
        self.data = data
        self.seed = seed
        self.windows_per_step = windows_per_step
        self.random_offset = random_offset

    def train_dataloader(self) -> TrainingBatches:
        """Batches of (B, S) token ids from the trainer's present step on."""
        trainer = self.trainer
        step, rank, processes = (trainer.global_step, trainer.global_rank, trainer.world_size) if trainer else (0, 0, 1)
        return TrainingBatches(
            self.data.train, self.seed, self.windows_per_step, step, rank, processes, self.random_offset
        )

    def interval_position(self, step: int) -> tuple[float, int]:
        """Epochs done and different tokens seen after ``step`` optimizer steps."""
        tokens = step * self.windows_per_step * self.data.train.context
        return tokens / self.data.unique_tokens, min(tokens, self.data.unique_tokens)
