"""What takes part in a run, one class per file: callbacks of Lightning and consumers of losses.

A *consumer* turns the losses of an evaluation into rows of its table (`trajlab.protocols.LossConsumer`). One that needs
nothing else is a plain class, a `trajlab.evaluation.context.RunMember` if it has to know its run: `PositionLoss`,
`PositionBlocks`, `TokenLoss`. One that also needs hooks of Lightning, or state in the checkpoints that a run resumes
from, is a `RunCallback` as well: `IntervalTelemetry`, `LiveForecast`. The others are callbacks alone.

All of them are choices of config group `callbacks`, from here or from any importable package, and what a class can do is
seen from its methods (`trajlab.evaluation.members`). *When* a run is evaluated is no choice: the trainer adds
`trajlab.training.evaluation_driver.EvaluationDriver` to every run.
"""
