"""The paper's network by arithmetic (section III-E), so that sizes and FLOPs need neither torch nor a record."""

from dataclasses import dataclass
from functools import cached_property

BLOCKS = (64, 128, 256)  # channels; two 3x3 convolutions with bias and batch norm each, then pooling by 2
HIDDEN = 512
IMAGE_SIDE, IMAGE_CHANNELS, KERNEL = 32, 3, 9
FLOAT_BYTES = 4
COUNTER_BYTES = 8  # batch norm's step counter
BITS = 4


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer.

    Attributes:
        fan_in: Weights an output.
        outputs: Output channels or features.
        positions: Places of the image at which it is computed; 1 for a linear layer.
    """

    fan_in: int
    outputs: int
    positions: int

    @property
    def weights(self) -> int:
        """Weights, without biases."""
        return self.fan_in * self.outputs

    @property
    def flops(self) -> int:
        """FLOPs of a forward pass of one image; a multiply-add counts as two, as torch's counter does."""
        return 2 * self.weights * self.positions


@dataclass(frozen=True)
class Architecture:
    """Counts of the full-width model.

    Attributes:
        classes: Outputs K.
    """

    classes: int

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The eight weight layers in the order of the forward pass."""
        layers, channels, side = [], IMAGE_CHANNELS, IMAGE_SIDE
        for width in BLOCKS:
            for fan_in in (channels, width):
                layers.append(Layer(KERNEL * fan_in, width, side**2))
            channels, side = width, side // 2
        return (*layers, Layer(channels * side**2, HIDDEN, 1), Layer(HIDDEN, self.classes, 1))

    @property
    def weights(self) -> int:
        """Weights that are quantised: all of them, the first and the last layer too."""
        return sum(layer.weights for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Weights, biases, and scale and shift of batch norm after every layer but the last."""
        return self.weights + sum(layer.outputs for layer in self.layers) + 2 * self._normalized

    @property
    def fp32_bytes(self) -> int:
        """Every parameter at 4 bytes, as the paper counts."""
        return FLOAT_BYTES * self.parameters

    @property
    def paper_bytes(self) -> int:
        """Every parameter at half a byte and no scales, as the paper counts."""
        return -(-self.parameters * BITS // 8)

    @property
    def packed_bytes(self) -> int:
        """A file that really holds the weights at 4 bits.

        The rest in FP32: biases, batch norm's parameters and statistics (and its step counters), a scale a layer.
        """
        codes = sum(-(-layer.weights * BITS // 8) for layer in self.layers)
        floats = self.parameters - self.weights + len(self.layers)
        return codes + FLOAT_BYTES * floats + self.statistics_bytes

    @property
    def statistics_bytes(self) -> int:
        """Batch norm's running means, variances and step counters, which every file of the model holds."""
        return 2 * FLOAT_BYTES * self._normalized + COUNTER_BYTES * (len(self.layers) - 1)

    @property
    def multiply_adds(self) -> int:
        """Of a forward pass of one image."""
        return sum(layer.weights * layer.positions for layer in self.layers)

    @property
    def step_flops(self) -> int:
        """FLOPs of a training step, an image: forward, and twice that backward but for the image's own gradient."""
        return 3 * sum(layer.flops for layer in self.layers) - self.layers[0].flops

    @property
    def _normalized(self) -> int:
        return sum(layer.outputs for layer in self.layers[:-1])
