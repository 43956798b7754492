"""What a model declares of its order: for each layer the batch norm behind it, and who takes what comes of it.

Methods that fold batch norms or move a factor from one layer into the next need more than the list of layers: on a
network with shortcuts the neighbour in that list may be no neighbour at all.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from repro.errors import ReproError
from repro.quant.layers import QuantConv2d, QuantLayer, QuantLinear, quant_layers

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
# f(s x) = s f(x) for s > 0, and channels stay apart: a factor may pass through (dropout is the identity in evaluation)
HOMOGENEOUS = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Dropout)


@dataclass
class Stage:
    """One layer and its surroundings.

    Attributes:
        name: Name of the layer within the model.
        layer: The layer.
        norm: The batch norm that takes the layer's output, all of it and nothing else; ``None`` without one.
        next: Layers that together take all that comes of the layer and its norm, through nothing but ``HOMOGENEOUS``
            modules. Empty where something else takes part of it, as a shortcut does, or adds to it.
        through: Those modules, in their order.
    """

    name: str
    layer: QuantLayer
    norm: BatchNorm | None = None
    next: list[QuantLayer] = field(default_factory=list)
    through: list[nn.Module] = field(default_factory=list)


def model_sequence(model: nn.Module) -> list[Stage]:
    """The stages of a model, in the order of the forward pass.

    Args:
        model: One that declares them, by a method ``sequence(prefix="")`` that gives them, or an ``nn.Sequential``.

    Raises:
        ReproError: If it does not; the caller has no other way to know who follows whom.
    """
    stages = _declared(model, "")
    if stages is None:
        raise ReproError(
            f"{type(model).__name__} declares no sequence of layers, batch norms and next layers: give it a method "
            "`sequence`, as the models in repro/models have"
        )
    known = {id(stage.layer) for stage in stages}
    missing = [name for name, layer in quant_layers(model).items() if id(layer) not in known]
    if missing:
        raise ReproError(f"the sequence that {type(model).__name__} declares lacks {', '.join(missing)}")
    return stages


def _declared(module: nn.Module, prefix: str) -> list[Stage] | None:
    """What a module declares, or what a plain row of modules is; ``None`` for any other."""
    declared: Callable[[str], list[Stage]] | None = getattr(module, "sequence", None)
    if declared is not None:
        return declared(prefix)
    return chain_sequence(module, prefix) if isinstance(module, nn.Sequential) else None


def chain_sequence(chain: nn.Sequential, prefix: str = "") -> list[Stage]:
    """The stages of modules in a row.

    A row within, or a module that declares a sequence of its own as a residual block does, has its stages here too,
    but no factor passes into it or out of it.

    Args:
        chain: The modules.
        prefix: Of the names, with the dot at its end.
    """
    stages: list[Stage] = []
    reached: Stage | None = None  # whose output arrives at the next module, up to homogeneous modules
    before: nn.Module | None = None
    for name, module in chain.named_children():
        if isinstance(module, QuantConv2d | QuantLinear):
            if reached is not None:
                reached.next.append(module)
            reached = Stage(prefix + name, module)
            stages.append(reached)
        elif isinstance(module, BatchNorm) and reached is not None and before is reached.layer:
            reached.norm = module
        elif not isinstance(module, HOMOGENEOUS):
            stages += _declared(module, f"{prefix}{name}.") or []
            reached = None
        elif reached is not None:
            reached.through.append(module)
        before = module
    return stages
