"""The vision transformer, against its equations written out in double precision."""

import math

import torch
from torch import Tensor, nn

from repro.models import ViTTiny
from repro.quant import quant_layers
from repro.quant.sequence import model_sequence


def test_it_is_vit_tiny() -> None:
    """12 blocks of 192 features, 3 heads, 64 tokens; 5.4 M parameters as ViT-Tiny has (5.7 M with 224 pixels' head)."""
    model = ViTTiny(10)
    assert sum(p.numel() for p in model.parameters()) == 5_362_378
    assert len(quant_layers(model)) == 1 + 12 * 6 + 1
    assert model.layers.embed.position.shape == (1, 64, 192)
    assert {m.weight.shape for n, m in quant_layers(model).items() if "fc1" in n} == {(768, 192)}


def by_hand(model: ViTTiny, images: Tensor) -> Tensor:
    """Equations 1 to 4 of Dosovitskiy 2021, head by head and patch by patch, with the mean token in place of theirs."""
    layers = model.layers
    patches = [
        images[:, :, top : top + 4, left : left + 4].flatten(1)
        for top in range(0, images.shape[2], 4)
        for left in range(0, images.shape[3], 4)
    ]
    weight = layers.embed.patches.weight.flatten(1)
    tokens = torch.stack([patch @ weight.T + layers.embed.patches.bias for patch in patches], 1) + layers.embed.position
    for index in range(1, 13):
        block = getattr(layers, f"block{index}")
        normed = block.norm1(tokens)
        query, key, value = block.query(normed), block.key(normed), block.value(normed)
        size, heads = query.shape[2] // 3, []
        for head in range(3):
            part = slice(head * size, (head + 1) * size)
            meeting = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(size)
            heads.append(meeting.softmax(-1) @ value[..., part])
        tokens = tokens + block.proj(torch.cat(heads, -1))
        hidden = block.fc1(block.norm2(tokens))
        tokens = tokens + block.fc2(0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2))))
    return layers.head(layers.norm(tokens).mean(1))


def test_logits_are_those_of_the_equations() -> None:
    torch.manual_seed(0)
    model = ViTTiny(10, width=0.125)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    images = torch.randn(3, 3, 32, 32)
    logits = model.eval()(images)
    assert torch.allclose(logits.double(), by_hand(model.double(), images.double()), rtol=1e-3, atol=1e-3)
    assert logits.std() > 0.1


def test_only_values_feed_a_layer_alone() -> None:
    stages = {stage.name: stage for stage in model_sequence(ViTTiny(10, width=0.125))}
    assert [name for name, stage in stages.items() if stage.next] == [f"layers.block{i}.value" for i in range(1, 13)]
