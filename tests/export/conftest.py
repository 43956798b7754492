from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from repro.config import Config, Plan
from repro.config.registry import QUANTIZERS
from repro.train.build import build_model
from tests.conftest import example_options

Built = tuple[nn.Module, dict[str, Any]]


@pytest.fixture
def built(config: Config) -> Callable[..., Built]:
    """A model with random weights and batch norm statistics, and the part of a record that a file needs."""

    def make(name: str = "absmax", bits: int = 4, width: float = 0.125, experiment: str = "main_cifar10") -> Built:
        run = Plan(config, "paper").run(experiment, 0)
        spec = {**run.spec, "model": {**run.spec["model"], "width": width}}
        if experiment == "main_cifar10":
            options = example_options(QUANTIZERS[name].options)
            spec["quantizer"] = {"name": name, **options, **({"bit_width": bits} if "bit_width" in options else {})}
        torch.manual_seed(0)
        model = build_model(spec, 10).to(memory_format=torch.channels_last)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for positive in (module.weight.data, module.running_var):
                    positive.uniform_(0.5, 2)
                for centred in (module.bias.data, module.running_mean):
                    centred.normal_()
                module.num_batches_tracked.fill_(7)
        return model.eval(), {"spec": spec, "data": {"classes": 10}}

    return make


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(16, 3, 32, 32).to(memory_format=torch.channels_last)
