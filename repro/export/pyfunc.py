"""A packed file as MLflow's ``python_function``, for ``mlflow.pyfunc.load_model`` where this suite is installed."""

from typing import Any

import torch
from numpy.typing import NDArray

from repro.export.packed import PackedModel, load_packed


class PackedFunction:
    """What MLflow calls."""

    def __init__(self, packed: PackedModel) -> None:
        """Wrap a packed model."""
        self.packed = packed

    def predict(self, model_input: NDArray[Any], params: Any = None) -> NDArray[Any]:
        """Logits of normalised images, computed in FP32.

        Args:
            model_input: Images [N, channels, height, width], normalised as ``repro.data.augment.normalize`` does.
            params: Part of MLflow's interface; not used.

        Returns:
            Logits [N, classes].
        """
        images = torch.from_numpy(model_input).float().contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            logits: torch.Tensor = self.packed.model(images)
        return logits.numpy()


def _load_pyfunc(path: str) -> PackedFunction:
    """MLflow's entry point; ``path`` is the packed file."""
    return PackedFunction(load_packed(path))
