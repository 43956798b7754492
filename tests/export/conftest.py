from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from repro.config import Config, Plan
from repro.config.registry import MODELS, QUANTIZERS
from repro.data.types import Shape
from repro.train.build import build_model
from tests.conftest import example_options

Built = tuple[nn.Module, dict[str, Any]]


@pytest.fixture
def built(config: Config) -> Callable[..., Built]:
    """A model with random weights and batch norm statistics, and the part of a record that a file needs."""

    def make(
        name: str = "absmax",
        bits: int = 4,
        width: float = 0.125,
        experiment: str = "main_cifar10",
        model: str = "vgg",
        image_shape: Shape = (3, 32, 32),
    ) -> Built:
        run = Plan(config, "paper").run(experiment, 0)
        options = {"width": width, "dropout": 0.5}
        kept = {key: value for key, value in options.items() if key in MODELS[model].options}
        spec = {**run.spec, "model": {"name": model, **kept}}
        if experiment == "main_cifar10":
            options = example_options(QUANTIZERS[name].options)
            spec["quantizer"] = {"name": name, **options, **({"bit_width": bits} if "bit_width" in options else {})}
        torch.manual_seed(0)
        net = build_model(spec, 10, image_shape).to(memory_format=torch.channels_last)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for positive in (module.weight.data, module.running_var):
                    positive.uniform_(0.5, 2)
                for centred in (module.bias.data, module.running_mean):
                    centred.normal_()
                module.num_batches_tracked.fill_(7)
        return net.eval(), {"spec": spec, "data": {"classes": 10, "image_shape": list(image_shape)}}

    return make


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(16, 3, 32, 32).to(memory_format=torch.channels_last)
