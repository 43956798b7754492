"""Every line of the registry is true of its code, and a line is all that a method needs."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from repro.config import Config, Plan, load_config, registry
from repro.config.options import Method
from repro.data import load_dataset
from repro.train import Settings, quantize_run, train_run
from tests.conftest import PROJECT

# Names of what each kind is called with before its options; what the comment above its table says.
GIVEN = {
    "DATASETS": ("directory", "download"),
    "MODELS": ("classes", "image_shape"),
    "QUANTIZERS": ("weight",),
    "ACTIVATION_QUANTIZERS": (),
    "WEIGHT_CLIPS": ("weights",),
    "OPTIMIZERS": ("parameters",),
    "SCHEDULES": ("completed_epochs",),
    "PTQ_METHODS": ("model", "images"),
}
ENTRIES = [(kind, name) for kind in GIVEN for name in getattr(registry, kind)]


def test_every_table_is_held() -> None:
    tables = {name for name, value in vars(registry).items() if isinstance(value, dict) and not name.startswith("_")}
    assert tables == set(GIVEN)


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_options_are_those_of_the_code(kind: str, name: str) -> None:
    method: Method = getattr(registry, kind)[name]
    assert tuple(inspect.signature(method.code).parameters) == (*GIVEN[kind], *method.options)


@pytest.mark.parametrize("name", ["digits10", "digits100"])
def test_sizes_are_those_of_the_data(name: str) -> None:
    data, entry = load_dataset(name), registry.DATASETS[name]
    assert (entry.train_images, entry.test_images) == (len(data.train.labels), len(data.test.labels))
    assert (entry.classes, entry.image_shape) == (data.classes, data.image_shape)


def test_sizes_of_cifar(cifar_dir: Path) -> None:
    data, entry = load_dataset("cifar10", data_dir=cifar_dir), registry.DATASETS["cifar10"]
    assert (entry.train_images, entry.test_images) == (len(data.train.labels), len(data.test.labels))


def test_no_code_is_imported_to_check_a_configuration() -> None:
    """`snakemake -n` answers at once: the whole registry is there, torch is not."""
    program = (
        "import sys; from repro.config import Plan, load_config; list(Plan(load_config('config.yaml'))); "
        "print([name for name in ('torch', 'numpy', 'repro.quant', 'repro.models') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


OUTSIDE = """
import torch
from torch import nn
from repro.quant import QuantConv2d, QuantLinear, UniformQuantizer, quant_layers
from repro.data.digits import load_digits10
from repro.ptq.frozen import freeze_with_bound

class Percentile(UniformQuantizer):
    scale_invariant = True
    def __init__(self, weight, bit_width, percentile):
        super().__init__(bit_width)
        self.fraction = percentile / 100
    def clip_bound(self, weight):
        return weight.detach().abs().flatten().quantile(self.fraction) + 1e-8

def pool_net(classes, image_shape, width, channels):
    net = nn.Sequential(QuantConv2d(image_shape[0], channels, 3, stride=4), nn.ReLU())
    net.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten()])
    net.append(QuantLinear(channels, classes))
    return net

def plain_sgd(parameters, learning_rate, momentum):
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=momentum)

def halving(completed_epochs, every):
    return 0.5 ** (completed_epochs // every)

def double_clip(weights, bound):
    return [weight.clamp(-2 * bound, 2 * bound) for weight in weights]

def half_absmax(model, images, bit_width):
    for layer in quant_layers(model).values():
        freeze_with_bound(layer, layer.weight.detach().abs().max() / 2, bit_width)

def same_digits(directory, download):
    return load_digits10(directory, download)
"""


def test_a_method_from_outside_is_its_code_and_one_line(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of each kind in a file of the user's own: configured, planned, trained, quantised and recorded."""
    (tmp_path / "of_a_user.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    bits, positive = registry.BITS, registry.POSITIVE
    lines: dict[str, tuple[str, Method]] = {
        "QUANTIZERS": ("percentile", registry.Quantizer("of_a_user:Percentile", bit_width=bits, percentile=positive)),
        "MODELS": ("pool_net", Method("of_a_user:pool_net", width=positive, channels=bits)),
        "OPTIMIZERS": (
            "plain_sgd", registry.Optimizer("of_a_user:plain_sgd", learning_rate=positive, momentum=registry.SHARE)
        ),
        "SCHEDULES": ("halving", Method("of_a_user:halving", every=registry.EPOCHS)),
        "WEIGHT_CLIPS": ("double", Method("of_a_user:double_clip", bound=positive)),
        "PTQ_METHODS": ("half_absmax", registry.PostTraining("of_a_user:half_absmax", bit_width=bits)),
        "DATASETS": (
            "same_digits", registry.Dataset(
                "of_a_user:same_digits", train_images=1_438, test_images=359, classes=10, image_shape=(3, 32, 32)
            ),
        ),
    }  # fmt: skip
    for kind, (name, method) in lines.items():
        monkeypatch.setitem(getattr(registry, kind), name, method)
    raw = yaml.safe_load((PROJECT / "config.yaml").read_text())
    ours = {
        "group": "ablation",
        "title": "all of a user's own",
        "dataset": {"name": "same_digits"},
        "model": {"name": "pool_net", "width": 1.0, "channels": 8},
        "quantizer": {"name": "percentile", "bit_width": 4, "percentile": 99.0},
        "optimizer": {"name": "plain_sgd", "learning_rate": 0.1, "momentum": 0.9},
        "schedule": {"name": "halving", "every": 50},
        "weight_clip": {"name": "double", "bound": 1.0},
    }
    raw["experiments"]["ours"] = ours
    raw["experiments"]["ours_fp32"] = {**ours, "quantizer": "none"}
    raw["experiments"]["ours_ptq"] = {
        **raw["experiments"]["ours_fp32"],
        "ptq": {"name": "half_absmax", "bit_width": 4, "bias_correction": "empirical"},
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    plan = Plan(load_config(tmp_path / "config.yaml"), "smoke")
    settings = Settings(results=tmp_path)
    quantized = train_run(plan.run("ours", 0), settings)
    train_run(plan.run("ours_fp32", 0), settings)
    run = plan.run("ours_ptq", 0)
    source = plan.source(run)
    assert source is not None
    after = quantize_run(run, source, settings)
    assert all(1 < layer["levels"] <= 15 for record in (quantized, after) for layer in record.layers)
    assert quantized.data["name"] == "same_digits"
