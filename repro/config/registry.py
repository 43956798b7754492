"""Every method of the suite: its name, where its code is, and the options that it takes.

To add one, write its function or class in any module and give it one line here; ``config.yaml`` may name it from then
on. Above each table stands what its methods are called with besides their options. No code is imported before a method
is used, so that ``snakemake -n`` and the report answer without torch. The tests hold every line to the signature of
its code, and every method to the contract of its kind.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from repro.config.options import Method, Option

BITS = Option(int, minimum=2, maximum=8)
POSITIVE = Option(float, minimum=0, above=True)
COUNT = Option(int, minimum=1)
FACTOR = replace(POSITIVE, default=1.0)
SHARE = Option(float, minimum=0, maximum=1, below=True)
ALPHA = Option(float, minimum=0, maximum=1)
DECAY = Option(float, minimum=0)
EPOCHS = Option(float, minimum=0.01, maximum=1e9, in_epochs=True)
RGB_32 = (3, 32, 32)  # channels, height, width
WIDTH = Option(float, minimum=0.01, maximum=4)


class Dataset(Method):
    """A data set, with what is known of it before it is loaded; a test compares that with the data themselves.

    Attributes:
        train_images: Training images.
        test_images: Test images.
        classes: Number of classes.
        image_shape: Channels, height and width of an image.
    """

    def __init__(
        self, code: str, *, train_images: int, test_images: int, classes: int, image_shape: tuple[int, int, int]
    ) -> None:
        """``code`` loads it; see the attributes."""
        super().__init__(code)
        self.train_images, self.test_images = train_images, test_images
        self.classes, self.image_shape = classes, image_shape


# (directory of the data sets, whether it may download) -> repro.data.types.FullSet
DATASETS: dict[str, Dataset] = {
    "cifar10": Dataset(
        "repro.data.cifar:load_cifar10", train_images=50_000, test_images=10_000, classes=10, image_shape=RGB_32,
    ),
    "cifar100": Dataset(
        "repro.data.cifar:load_cifar100", train_images=50_000, test_images=10_000, classes=100, image_shape=RGB_32,
    ),
    "digits10": Dataset(
        "repro.data.digits:load_digits10", train_images=1_438, test_images=359, classes=10, image_shape=RGB_32,
    ),
    "digits100": Dataset(
        "repro.data.digits:load_digits100", train_images=6_000, test_images=1_500, classes=100, image_shape=RGB_32,
    ),
    "stl10": Dataset(
        "repro.data.stl10:load_stl10", train_images=5_000, test_images=8_000, classes=10, image_shape=(3, 96, 96),
    ),
}  # fmt: skip

# (classes, (channels, height, width) of an image) -> module made of repro.quant's layers that declares its sequence of
# layers, batch norms and next layers (repro.quant.sequence). A scale with a width sets it where a model has the option.
MODELS: dict[str, Method] = {
    "vgg": Method("repro.models.vgg:VGG", width=WIDTH, dropout=SHARE),
    "resnet20": Method("repro.models.resnet:ResNet20", width=replace(WIDTH, default=1.0)),
    "vgg_small": Method("repro.models.vgg_small:VGGSmall", width=replace(WIDTH, default=1.0)),
    "vit_tiny": Method("repro.models.vit:ViTTiny", width=replace(WIDTH, default=1.0)),
}


class Quantizer(Method):
    """A weight quantiser.

    Attributes:
        input_bits: Bits of the layers' inputs, where the method quantises them itself and takes no other for them.
    """

    def __init__(self, code: str | Callable[..., Any], /, input_bits: int | None = None, **options: Option) -> None:
        super().__init__(code, **options)
        self.input_bits = input_bits


# (initial weight) -> repro.quant.base.WeightQuantizer
QUANTIZERS: dict[str, Quantizer] = {
    "absmax": Quantizer("repro.quant.uniform:AbsmaxQuantizer", bit_width=BITS),
    "absmax_fixed": Quantizer("repro.quant.uniform:FixedClipQuantizer", bit_width=BITS, clip=POSITIVE),
    "absmax_global": Quantizer("repro.quant.uniform:GlobalAbsmaxQuantizer", bit_width=BITS),
    "absmax_initial": Quantizer("repro.quant.uniform:InitialAbsmaxQuantizer", bit_width=BITS),
    "apot": Quantizer("repro.quant.apot:ApotQuantizer", bit_width=BITS),
    "dampened": Quantizer("repro.quant.oscillation:DampenedQuantizer", bit_width=BITS, strength=POSITIVE),
    "dorefa": Quantizer("repro.quant.dorefa:DorefaQuantizer", bit_width=BITS),
    "ewgs": Quantizer("repro.quant.ewgs:EwgsQuantizer", bit_width=BITS, delta=POSITIVE),
    "fp4_e2m1": Quantizer("repro.quant.float_formats:E2M1Quantizer"),
    "fp8_e4m3": Quantizer("repro.quant.float_formats:E4M3Quantizer"),
    "fp8_e5m2": Quantizer("repro.quant.float_formats:E5M2Quantizer"),
    "freezing": Quantizer("repro.quant.oscillation:FreezingQuantizer", bit_width=BITS, threshold=POSITIVE),
    "gaussws": Quantizer("repro.quant.gaussian:GaussianNoiseQuantizer", bit_width=BITS),
    "int4_radix4": Quantizer("repro.quant.radix4:Int4Radix4Quantizer"),
    "int8_qat": Quantizer("repro.quant.int8_qat:Int8QatQuantizer", input_bits=8),
    "learned_clip": Quantizer(
        "repro.quant.learned_bound:LearnedClipQuantizer", bit_width=BITS, initial_factor=FACTOR,
    ),
    "learned_soft_clip": Quantizer(
        "repro.quant.learned_bound:LearnedSoftClipQuantizer", bit_width=BITS, bound=POSITIVE,
    ),
    "lsq": Quantizer("repro.quant.lsq:LsqQuantizer", bit_width=BITS, initial_factor=FACTOR),
    "mxfp4": Quantizer("repro.quant.microscaling:MXFP4Quantizer"),
    "nf4": Quantizer("repro.quant.block:NF4Quantizer"),
    "nvfp4": Quantizer("repro.quant.microscaling:NVFP4Quantizer"),
    "statsq": Quantizer("repro.quant.statsq:StatsQuantizer", bit_width=BITS),
    "statsq_annealed": Quantizer(
        "repro.quant.annealing:AnnealedStatsQuantizer", bit_width=BITS, start=EPOCHS, boundary_range=POSITIVE,
    ),
    "ternary": Quantizer("repro.quant.uniform:TernaryQuantizer"),
    "ternary_hadamard": Quantizer("repro.quant.hadamard:HadamardTernaryQuantizer"),
    "wage": Quantizer("repro.quant.uniform:WageQuantizer", bit_width=BITS),
}  # fmt: skip

# () -> repro.quant.activations.ActivationQuantizer
ACTIVATION_QUANTIZERS: dict[str, Method] = {
    "absmax": Method("repro.quant.absmax_activations:AbsmaxActivations", bit_width=BITS),
    "absmax_moving": Method(
        "repro.quant.absmax_activations:MovingAbsmaxActivations", bit_width=BITS, momentum=replace(SHARE, above=True),
    ),
    "dorefa": Method("repro.quant.activations:DorefaActivations", bit_width=BITS),
    "lsq": Method("repro.quant.activations:LsqActivations", bit_width=BITS),
    "pact": Method("repro.quant.activations:PactActivations", bit_width=BITS, initial_clip=POSITIVE),
}  # fmt: skip

# (weights of all quantised layers) -> the clipped weights
WEIGHT_CLIPS: dict[str, Method] = {
    "tanh": Method("repro.optim.clipping:tanh_clip", bound=POSITIVE),
    "hard": Method("repro.optim.clipping:hard_clip", bound=POSITIVE),
}


class Optimizer(Method):
    """An optimiser.

    Attributes:
        width_exponent: Of the width by whose power muP divides the rate of hidden matrices; ``None`` where it does not.
    """

    def __init__(
        self, code: str | Callable[..., Any], /, width_exponent: float | None = 1.0, **options: Option
    ) -> None:
        super().__init__(code, **options)
        self.width_exponent = width_exponent


# (parameters) -> torch.optim.Optimizer
OPTIMIZERS: dict[str, Optimizer] = {
    "adamp": Optimizer("repro.optim.adamp:AdamP", learning_rate=POSITIVE, beta1=SHARE, beta2=SHARE, weight_decay=DECAY),
    "adamw": Optimizer(
        "repro.optim:adamw",
        learning_rate=POSITIVE, beta1=SHARE, beta2=SHARE, weight_decay=DECAY,
    ),
    "adan": Optimizer(
        "repro.optim.adan:Adan",
        learning_rate=POSITIVE, beta1=SHARE, beta2=SHARE, beta3=SHARE, weight_decay=DECAY,
    ),
    "lion": Optimizer("repro.optim.lion:Lion", learning_rate=POSITIVE, beta1=SHARE, beta2=SHARE, weight_decay=DECAY),
    "muon": Optimizer(
        "repro.optim.muon:Muon", width_exponent=0.5,
        learning_rate=POSITIVE, momentum=SHARE, beta1=SHARE, beta2=SHARE, weight_decay=DECAY,
    ),
    "sgd": Optimizer(
        "repro.optim:sgd", width_exponent=None,
        learning_rate=POSITIVE, momentum=SHARE, weight_decay=DECAY, nesterov=Option(bool, default=False),
    ),
    "sgdp": Optimizer(
        "repro.optim.adamp:SGDP", width_exponent=None,
        learning_rate=POSITIVE, momentum=SHARE, weight_decay=DECAY, nesterov=Option(bool, default=False),
    ),
}  # fmt: skip

# (completed epochs) -> factor on the initial rate; without torch, since plans ask them
SCHEDULES: dict[str, Method] = {
    "constant": Method("repro.config.schedules:constant"),
    "cosine": Method("repro.config.schedules:cosine", t_max=EPOCHS),
    "cosine_restarts": Method(
        "repro.config.schedules:cosine_restarts",
        period=EPOCHS,
        multiplier=Option(float, minimum=1, maximum=10, default=1.0),
    ),
    "linear": Method("repro.config.schedules:linear", t_max=EPOCHS),
    "one_cycle": Method("repro.config.schedules:one_cycle", t_max=EPOCHS, rise=replace(SHARE, above=True)),
    "multi_step": Method("repro.config.schedules:multi_step", milestones=replace(EPOCHS, length=-1), factor=SHARE),
}


class PostTraining(Method):
    """A quantisation after training.

    Attributes:
        corrects_biases: The method does so itself, and takes no other correction.
    """

    def __init__(self, code: str | Callable[..., Any], /, corrects_biases: bool = False, **options: Option) -> None:
        super().__init__(code, **options)
        self.corrects_biases = corrects_biases


# Post-training quantisation of the run of the same settings without it.
# (model, calibration images or None) -> None; quantises the model in place, see repro.ptq.methods
PTQ_METHODS: dict[str, PostTraining] = {
    "absmax": PostTraining("repro.ptq.methods:absmax_tensor", bit_width=BITS),
    "absmax_channel": PostTraining("repro.ptq.methods:absmax_channel", bit_width=BITS),
    "mse": PostTraining("repro.ptq.methods:mse_tensor", bit_width=BITS),
    "aciq": PostTraining("repro.ptq.aciq:aciq", corrects_biases=True, bit_width=BITS),
    "adaround": PostTraining("repro.ptq.adaround:adaround", bit_width=BITS, iterations=COUNT),
    "brecq": PostTraining("repro.ptq.reconstruction:block_reconstruction", bit_width=BITS, iterations=COUNT),
    "cle": PostTraining("repro.ptq.equalization:cross_layer_equalization", corrects_biases=True, bit_width=BITS),
    "gptq": PostTraining("repro.ptq.gptq:gptq", bit_width=BITS),
    "foem": PostTraining("repro.ptq.gptq:foem", bit_width=BITS, beta=SHARE),
    "rescomp": PostTraining("repro.ptq.rescomp:rescomp", bit_width=BITS, alpha=ALPHA, alpha2=ALPHA),
}
