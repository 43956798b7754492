"""Layers in a row, in which batch norm, pooling and ReLU run as one operator where there is a kernel."""

from collections.abc import Sequence

from torch import Tensor, nn

from repro.kernels import BatchNorm, norm_relu


class Chain(nn.Sequential):
    """``nn.Sequential``, faster: modules, names and results are the same, up to the order of sums."""

    def forward(self, values: Tensor) -> Tensor:
        """Pass ``values`` through all modules."""
        modules = list(self)
        while modules:
            first = modules.pop(0)
            if isinstance(first, BatchNorm) and (joined := _joined(first, modules)):
                values = norm_relu(first, values, pool=joined == 2)
                del modules[:joined]
            else:
                values = first(values)
        return values


def _joined(norm: BatchNorm, modules: Sequence[nn.Module]) -> int:
    """How many of the modules after ``norm`` join it in one operator: 1 (ReLU), 2 (pooling, ReLU) or 0."""
    for count in (1, 2):
        part = modules[:count]
        if len(part) == count and type(part[-1]) is nn.ReLU and (count == 1 or _halves(part[0])):
            hooked = any(map(_hooked, (norm, *part)))
            return 0 if hooked else count  # what a hook is to see must be computed
    return 0


def _hooked(module: nn.Module) -> bool:
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return any(hooks)


def _halves(module: nn.Module) -> bool:
    """Whether it takes the largest of each 2x2 window."""
    shape = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    return type(module) is nn.MaxPool2d and [getattr(module, name) for name in shape] == [2, 2, 0, 1, False, False]
