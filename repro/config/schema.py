"""What ``config.yaml`` may say: its sections, with the methods of ``repro.config.registry``."""

from collections.abc import Mapping
from dataclasses import replace

from repro.config.options import NONE, Choice, Node, Option, Section
from repro.config.registry import (
    ACTIVATION_QUANTIZERS,
    DATASETS,
    MODELS,
    OPTIMIZERS,
    PTQ_METHODS,
    QUANTIZERS,
    SCHEDULES,
    WEIGHT_CLIPS,
    WIDTH,
)

MOST_EPOCHS = 100_000
MOST_SEED = 2**32 - 1
NAME = r"[a-z][a-z0-9_]*"
PRECISIONS = ("fp32", "tf32", "bf16")  # tf32: FP32 whose GPU products round their factors to 10 bits

# Which weights post-training quantisation takes: the last, or those where the learning rate reaches zero before the end
PTQ_SOURCE = Option(str, choices=("last", "zero_rate"), default="last")

# What is done about the shift that quantised weights give a layer's mean output; ``own`` is the method's own, if any
BIAS_CORRECTION = Option(str, choices=("own", "analytic", "empirical"), default="own")

# Width at which rate and decay were found; by muP those of hidden matrices follow the model's. ``null``: no such rule
MUP_BASE_WIDTH = Option(float, minimum=0, above=True, nullable=True, default=None)

# What a run's numbers depend on. Its checked, resolved form is the run's identity.
SPEC = Section(
    {
        "dataset": Section(
            {
                "name": Option(str, choices=DATASETS),
                "train_images": Option(int, minimum=2, nullable=True, default=None),
                "test_images": Option(int, minimum=1, nullable=True, default=None),
                "validation_fraction": Option(float, minimum=0, maximum=0.5, default=0.0),
            }
        ),
        "model": Choice(MODELS),
        # An experiment, from whose last weights the training starts; in a run's spec the hash of that run's spec
        "start_from": Option(str, nullable=True, default=None),
        "quantizer": Choice(QUANTIZERS, optional=True),
        "activation_quantizer": Choice(ACTIVATION_QUANTIZERS, optional=True, default={"name": NONE}),
        "quantized_layers": Option(str, choices=("all", "inner"), default="all"),
        "optimizer": Choice(OPTIMIZERS, common={"mup_base_width": MUP_BASE_WIDTH}),
        "gradient_clip": Option(float, minimum=0, above=True, nullable=True),
        "weight_clip": Choice(WEIGHT_CLIPS, optional=True),
        "schedule": Choice(SCHEDULES),
        "epochs": Option(int, minimum=1, maximum=MOST_EPOCHS),
        "batch_size": Option(int, minimum=2, maximum=1_000_000),
        "precision": Option(str, choices=PRECISIONS),
        "ptq": Choice(
            PTQ_METHODS,
            optional=True,
            default={"name": NONE},
            common={"source": PTQ_SOURCE, "bias_correction": BIAS_CORRECTION},
        ),
    }
)

# What the report and the workflow say about a run; none of it changes a number.
ABOUT: Mapping[str, Node] = {
    "group": Option(str),
    "title": Option(str),
    "fixed_epochs": Option(bool, default=False),
    "scales": Option(str, length=-1, nullable=True, default=None),
    "by_default": Option(bool, default=True),
}

EXPERIMENT = Section({**ABOUT, **SPEC.fields})

# A scale is a set of overrides, nothing else.
SCALE = Section(
    {
        "description": Option(str),
        "dataset_map": Section({name: Option(str, choices=DATASETS, default=name) for name in DATASETS}, default={}),
        "train_images": Option(int, minimum=2, nullable=True, default=None),
        "test_images": Option(int, minimum=1, nullable=True, default=None),
        "width": replace(WIDTH, nullable=True, default=None),
        "epochs_factor": Option(float, minimum=0, maximum=100, above=True, default=1.0),
        "precision": Option(str, choices=PRECISIONS, nullable=True, default=None),
        "torch_threads": Option(int, minimum=1, maximum=1024),
        "seeds": Option(int, minimum=0, maximum=MOST_SEED, length=-1, nullable=True, default=None),
        "decides": Option(bool, default=False),
    }
)
