"""A run's data, and what its record says of data, machine and time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repro.config import Run
from repro.data import ImageData, load_dataset
from repro.kernels import kernels_in_use
from repro.records.environment import describe_environment, peak_memory_bytes, processor_name
from repro.train.device import device_name


def describe_place(device: torch.device) -> str:
    """Torch version, processor or GPU, and kernels: what may change the last bits."""
    place = processor_name() if device.type == "cpu" else device_name(device)
    kernels = kernels_in_use(device)
    products = f", {kernels['fp32_products']}" if "fp32_products" in kernels else ""
    return f"torch {torch.__version__}, {place}, {kernels['step']} kernels{products}"


def session_environment(device: torch.device, threads: int, trained_on: Sequence[str]) -> dict[str, Any]:
    """The record's ``environment``."""
    cuda = device.type == "cuda"
    return {
        **describe_environment(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": device.type,
        "device_name": device_name(device),
        "torch_threads": threads,
        "kernels": kernels_in_use(device),
        "trained_on": list(trained_on),
        "peak_memory_bytes": peak_memory_bytes(),
        "peak_device_memory_bytes": torch.cuda.max_memory_allocated(device) if cuda else None,
    }


def load_data(run: Run, data_dir: Path | None) -> ImageData:
    """The run's data set: its images, its split, its seed."""
    dataset = run.spec["dataset"]
    return load_dataset(
        dataset["name"],
        train_images=dataset["train_images"],
        test_images=dataset["test_images"],
        validation_fraction=dataset["validation_fraction"],
        seed=run.seed,
        data_dir=data_dir,
    )


def describe_data(data: ImageData) -> dict[str, Any]:
    """The record's ``data``."""
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "classes": data.classes,
        "image_shape": list(data.image_shape),
        "train_images": len(data.train.labels),
        "validation_images": len(data.validation.labels) if data.validation else 0,
        "test_images": len(data.test.labels),
    }


def now() -> str:
    """The record's times: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def end_of(started_at: str, wall_seconds: float) -> str:
    """The time now; where the clock was set back meanwhile, the least that it can be."""
    least = datetime.fromisoformat(started_at) + timedelta(seconds=wall_seconds)
    return max(datetime.now(UTC), least).isoformat(timespec="seconds")
