"""What the optimisers share: torch's bookkeeping, the rate's form, and a step one parameter at a time."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

EPSILON = 1e-8  # of every divisor, as in torch's AdamW


class Undecorated(torch.optim.Optimizer):
    """torch's bookkeeping without the decorators that keep its compiler away, for which they import it: 1.4 s."""

    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class PerParameter(Undecorated):
    """An optimiser that updates one parameter after the other; a method says how, in ``update``.

    Nothing is read back from the device and no branch depends on a value, so that a step can be captured. All state
    is in tensors of the parameter's dtype, so that a resumed run goes on with its bits.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter] | list[dict[str, Any]], learning_rate: float, **options: Any
    ) -> None:
        """``parameters`` may be groups of their own; ``options`` are those of every group."""
        super().__init__(parameters, {"lr": learning_rate, **options})
        for group in self.param_groups:
            group["lr"] = rate(learning_rate, group["params"])

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; ``closure`` is not called."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, parameter.grad, self.state[parameter], group)

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        """One step of one parameter, in place; ``state`` is empty before the first one."""
        raise NotImplementedError


class TwoBetas(PerParameter):
    """One with AdamW's options."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, beta1: float, beta2: float, weight_decay: float
    ) -> None:
        """What the betas weigh is the method's own; the decay is decoupled, on every parameter."""
        super().__init__(parameters, learning_rate, betas=(beta1, beta2), weight_decay=weight_decay)


def hidden_matrices(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Weights of all layers but the first and the last; which those are is read off the order of the parameters."""
    return [parameter for parameter in parameters if parameter.dim() in (2, 4)][1:-1]


def rate(learning_rate: float, parameters: list[nn.Parameter]) -> float | Tensor:
    """On a GPU a tensor, so that a captured step reads the rate of its epoch."""
    return torch.tensor(learning_rate, device=parameters[0].device) if parameters[0].is_cuda else learning_rate


def count_step(state: dict[str, Tensor], parameter: Tensor) -> Tensor:
    """Number of the step that begins, from 1, as a double on the parameter's device."""
    if "steps" not in state:
        state["steps"] = torch.zeros((), device=parameter.device)
    state["steps"] += 1
    return state["steps"].double()


def adam_direction(state: dict[str, Tensor], gradient: Tensor, betas: tuple[float, float]) -> Tensor:
    """Adam's step before the rate: the mean gradient over the root of the mean square, both without their bias."""
    steps = count_step(state, gradient)
    if "mean" not in state:
        state["mean"], state["mean_square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
    beta1, beta2 = betas
    state["mean"].lerp_(gradient, 1 - beta1)
    state["mean_square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    root = (state["mean_square"] / (1 - beta2**steps)).sqrt_().add_(EPSILON)
    return state["mean"] / (1 - beta1**steps) / root
