"""What ``config.yaml`` may say: every registry's methods with their options, then the sections.

A new method needs its function beside the registry of its kind and one line
here; the registries' tests hold the two together. This module imports
no torch, so that ``snakemake -n`` answers at once.
"""

from collections.abc import Mapping

from repro.config.options import Choice, Node, Option, Section

BITS = Option(int, minimum=2, maximum=8)
POSITIVE = Option(float, minimum=0, above=True)
EPOCHS = Option(float, minimum=0, above=True, in_epochs=True)
NAME = r"[a-z][a-z0-9_]*"

# name -> training and test images; a test compares them with the data themselves
DATASET_SIZES = {
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "digits10": (1_438, 359),
    "digits100": (6_000, 1_500),
}
DATASETS = tuple(DATASET_SIZES)

MODELS: Mapping[str, Mapping[str, Option]] = {
    "vgg": {
        "width": Option(float, minimum=0, maximum=4, above=True),
        "dropout": Option(float, minimum=0, maximum=1, below=True),
    },
}

QUANTIZERS: Mapping[str, Mapping[str, Option]] = {
    "none": {},
    "absmax": {"bit_width": BITS},
    "absmax_fixed": {"bit_width": BITS, "clip": POSITIVE},
    "absmax_global": {"bit_width": BITS},
    "absmax_initial": {"bit_width": BITS},
    "dorefa": {"bit_width": BITS},
    "fp4_e2m1": {},
    "fp8_e4m3": {},
    "fp8_e5m2": {},
    "int4_radix4": {},
    "int8_qat": {},
    "lsq": {"bit_width": BITS, "initial_factor": Option(float, minimum=0, above=True, default=1.0)},
    "nf4": {},
    "ternary": {},
    "wage": {"bit_width": BITS},
}

ACTIVATION_QUANTIZERS: Mapping[str, Mapping[str, Option]] = {
    "none": {},
    "dorefa": {"bit_width": BITS},
    "lsq": {"bit_width": BITS},
    "pact": {"bit_width": BITS, "initial_clip": POSITIVE},
}

WEIGHT_CLIPS: Mapping[str, Mapping[str, Option]] = {
    "none": {},
    "tanh": {"bound": POSITIVE},
    "hard": {"bound": POSITIVE},
}

OPTIMIZERS: Mapping[str, Mapping[str, Option]] = {
    "adamw": {
        "learning_rate": POSITIVE,
        "beta1": Option(float, minimum=0, maximum=1, below=True),
        "beta2": Option(float, minimum=0, maximum=1, below=True),
        "weight_decay": Option(float, minimum=0),
    },
    "sgd": {
        "learning_rate": POSITIVE,
        "momentum": Option(float, minimum=0, maximum=1, below=True),
        "weight_decay": Option(float, minimum=0),
        "nesterov": Option(bool, default=False),
    },
}

SCHEDULES: Mapping[str, Mapping[str, Option]] = {
    "constant": {},
    "cosine": {"t_max": EPOCHS},
    "cosine_restarts": {"period": EPOCHS, "multiplier": Option(float, minimum=1, maximum=10, default=1.0)},
}

# Post-training quantisation of the run of the same settings without it (``repro.ptq``): of its last weights, or of
# those where its learning rate reaches zero before the end.
PTQ_OPTIONS = {"bit_width": BITS, "source": Option(str, choices=("last", "zero_rate"), default="last")}
PTQ_METHODS: Mapping[str, Mapping[str, Option]] = {
    "none": {},
    **dict.fromkeys(("absmax", "absmax_channel", "mse", "aciq", "cle", "gptq"), PTQ_OPTIONS),
}

PRECISIONS = ("fp32", "tf32", "bf16")  # tf32: FP32 whose GPU products round their factors to 10 bits

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
        "quantizer": Choice(QUANTIZERS),
        "activation_quantizer": Choice(ACTIVATION_QUANTIZERS, default={"name": "none"}),
        "quantized_layers": Option(str, choices=("all", "inner"), default="all"),
        "optimizer": Choice(OPTIMIZERS),
        "gradient_clip": Option(float, minimum=0, above=True, nullable=True),
        "weight_clip": Choice(WEIGHT_CLIPS),
        "schedule": Choice(SCHEDULES),
        "epochs": Option(int, minimum=1),
        "batch_size": Option(int, minimum=2),
        "precision": Option(str, choices=PRECISIONS),
        "ptq": Choice(PTQ_METHODS, default={"name": "none"}),
    }
)

# What the report and the workflow say about a run; none of it changes a number.
ABOUT: Mapping[str, Node] = {
    "group": Option(str),
    "title": Option(str),
    "fixed_epochs": Option(bool, default=False),
    "scales": Option(str, length=-1, nullable=True, default=None),
}

EXPERIMENT = Section({**ABOUT, **SPEC.fields})

# A scale is a set of overrides, nothing else.
SCALE = Section(
    {
        "description": Option(str),
        "dataset_map": Section({name: Option(str, choices=DATASETS, default=name) for name in DATASETS}, default={}),
        "train_images": Option(int, minimum=2, nullable=True, default=None),
        "test_images": Option(int, minimum=1, nullable=True, default=None),
        "width": Option(float, minimum=0, maximum=4, above=True, nullable=True, default=None),
        "epochs_factor": Option(float, minimum=0, maximum=100, above=True, default=1.0),
        "precision": Option(str, choices=PRECISIONS, nullable=True, default=None),
        "torch_threads": Option(int, minimum=1),
        "seeds": Option(int, minimum=0, length=-1, nullable=True, default=None),
        "decides": Option(bool, default=False),
    }
)
