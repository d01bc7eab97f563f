"""Losses → weights: the training module, schedules of the learning rate, the trainer."""
