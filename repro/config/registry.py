"""Every method of the suite: its name, where its code is, and the options that it takes.

To add one, write its function or class in any module and give it one line here; ``config.yaml`` may name it from then
on. Above each table stands what its methods are called with besides their options. No code is imported before a method
is used, so that ``snakemake -n`` and the report answer without torch. The tests hold every line to the signature of
its code, and every method to the contract of its kind.
"""

from collections.abc import Callable
from typing import Any

from repro.config.options import Method, Option

BITS = Option(int, minimum=2, maximum=8)
POSITIVE = Option(float, minimum=0, above=True)
SHARE = Option(float, minimum=0, maximum=1, below=True)
EPOCHS = Option(float, minimum=0, above=True, in_epochs=True)


class Dataset(Method):
    """A data set, with what is known of it before it is loaded; a test compares that with the data themselves.

    Attributes:
        train_images: Training images.
        test_images: Test images.
    """

    def __init__(self, code: str, *, train_images: int, test_images: int) -> None:
        super().__init__(code)
        self.train_images, self.test_images = train_images, test_images


# (directory of the data sets, whether it may download) -> repro.data.types.FullSet
DATASETS: dict[str, Dataset] = {
    "cifar10": Dataset("repro.data.cifar:load_cifar10", train_images=50_000, test_images=10_000),
    "cifar100": Dataset("repro.data.cifar:load_cifar100", train_images=50_000, test_images=10_000),
    "digits10": Dataset("repro.data.digits:load_digits10", train_images=1_438, test_images=359),
    "digits100": Dataset("repro.data.digits:load_digits100", train_images=6_000, test_images=1_500),
}

# (classes) -> module made of repro.quant's layers
MODELS: dict[str, Method] = {
    "vgg": Method("repro.models.vgg:VGG", width=Option(float, minimum=0, maximum=4, above=True), dropout=SHARE),
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
    "dorefa": Quantizer("repro.quant.dorefa:DorefaQuantizer", bit_width=BITS),
    "fp4_e2m1": Quantizer("repro.quant.float_formats:E2M1Quantizer"),
    "fp8_e4m3": Quantizer("repro.quant.float_formats:E4M3Quantizer"),
    "fp8_e5m2": Quantizer("repro.quant.float_formats:E5M2Quantizer"),
    "int4_radix4": Quantizer("repro.quant.radix4:Int4Radix4Quantizer"),
    "int8_qat": Quantizer("repro.quant.int8_qat:Int8QatQuantizer", input_bits=8),
    "lsq": Quantizer("repro.quant.lsq:LsqQuantizer", bit_width=BITS),
    "nf4": Quantizer("repro.quant.block:NF4Quantizer"),
    "ternary": Quantizer("repro.quant.uniform:TernaryQuantizer"),
    "wage": Quantizer("repro.quant.uniform:WageQuantizer", bit_width=BITS),
}

# () -> repro.quant.activations.ActivationQuantizer
ACTIVATION_QUANTIZERS: dict[str, Method] = {
    "dorefa": Method("repro.quant.activations:DorefaActivations", bit_width=BITS),
    "lsq": Method("repro.quant.activations:LsqActivations", bit_width=BITS),
    "pact": Method("repro.quant.activations:PactActivations", bit_width=BITS, initial_clip=POSITIVE),
}

# (weights of all quantised layers) -> the clipped weights
WEIGHT_CLIPS: dict[str, Method] = {
    "tanh": Method("repro.optim.clipping:tanh_clip", bound=POSITIVE),
    "hard": Method("repro.optim.clipping:hard_clip", bound=POSITIVE),
}

# (parameters) -> torch.optim.Optimizer
OPTIMIZERS: dict[str, Method] = {
    "adamw": Method(
        "repro.optim:adamw",
        learning_rate=POSITIVE, beta1=SHARE, beta2=SHARE, weight_decay=Option(float, minimum=0),
    ),
}  # fmt: skip

# (completed epochs) -> factor on the initial rate; without torch, since plans ask them
SCHEDULES: dict[str, Method] = {
    "constant": Method("repro.config.schedules:constant"),
    "cosine": Method("repro.config.schedules:cosine", t_max=EPOCHS),
    "cosine_restarts": Method("repro.config.schedules:cosine_restarts", period=EPOCHS),
}

# Post-training quantisation of the run of the same settings without it.
# (model, calibration images or None) -> None; quantises the model in place, see repro.ptq.methods
PTQ_METHODS: dict[str, Method] = {
    "absmax": Method("repro.ptq.methods:absmax_tensor", bit_width=BITS),
    "absmax_channel": Method("repro.ptq.methods:absmax_channel", bit_width=BITS),
    "mse": Method("repro.ptq.methods:mse_tensor", bit_width=BITS),
    "aciq": Method("repro.ptq.aciq:aciq", bit_width=BITS),
    "cle": Method("repro.ptq.equalization:cross_layer_equalization", bit_width=BITS),
    "gptq": Method("repro.ptq.gptq:gptq", bit_width=BITS),
}
