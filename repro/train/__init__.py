"""Training: the loop, checkpoints, progress, a run from start to record, and quantisation after it."""

from repro.train.checkpoint import ResumeError
from repro.train.post_training import quantize_run
from repro.train.run import Interrupted, RunBusyError
from repro.train.settings import Settings, Tracker
from repro.train.together import train_run, train_together
from repro.train.trainer import Trainer
from repro.train.weights import restore_weights

__all__ = [
    "Interrupted",
    "ResumeError",
    "RunBusyError",
    "Settings",
    "Tracker",
    "Trainer",
    "quantize_run",
    "restore_weights",
    "train_run",
    "train_together",
]
