"""Training: the loop, checkpoints, progress, and a run from start to record."""

from repro.train.checkpoint import ResumeError
from repro.train.run import RunBusyError, Settings, Tracker
from repro.train.together import train_run, train_together
from repro.train.trainer import Interrupted, Trainer

__all__ = [
    "Interrupted",
    "ResumeError",
    "RunBusyError",
    "Settings",
    "Tracker",
    "Trainer",
    "train_run",
    "train_together",
]
