"""Data sets as whole tensors: CIFAR, verified against its known content, and digits that need no download."""

from repro.data.datasets import data_directory, load_dataset, prepare_dataset
from repro.data.types import DataError, ImageData, Split

__all__ = ["DataError", "ImageData", "Split", "data_directory", "load_dataset", "prepare_dataset"]
