"""The paper's recipe as an independent loop, written from the paper and the authors' log without the core's code."""

import torch
import torch.nn.functional as F

CONVOLUTIONS = [f"conv{i}" for i in range(1, 7)]


class PlainLoop:
    """NCHW unless asked otherwise, functional layers, W + (Q(W) - W).detach(), torch's own clip and plain AdamW."""

    def __init__(
        self,
        state: dict[str, torch.Tensor],
        quantized: bool,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.quantized = quantized
        self.p = {
            name.removeprefix("layers."): tensor.clone()
            .contiguous(memory_format=memory_format if tensor.dim() == 4 else torch.contiguous_format)
            .requires_grad_()
            for name, tensor in state.items()
            if "running" not in name and "num_batches" not in name
        }
        self.optimizer = torch.optim.AdamW(self.p.values(), lr=1e-3, weight_decay=5e-4, foreach=False)

    def weight(self, name: str) -> torch.Tensor:
        weight = self.p[f"{name}.weight"]
        if not self.quantized:
            return weight
        scale = (weight.detach().abs().max() + 1e-8) / 7
        return weight + (torch.clamp(torch.round(weight / scale), -7, 7) * scale - weight).detach()

    def normalize(self, x: torch.Tensor, index: int) -> torch.Tensor:
        name = f"bn{index}"
        return F.batch_norm(x, None, None, self.p[f"{name}.weight"], self.p[f"{name}.bias"], training=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index, name in enumerate(CONVOLUTIONS, start=1):
            x = F.conv2d(x, self.weight(name), self.p[f"{name}.bias"], padding=1)
            x = F.relu(self.normalize(x, index))
            if index % 2 == 0:
                x = F.max_pool2d(x, 2)
        x = F.linear(x.flatten(1), self.weight("fc1"), self.p["fc1.bias"])
        x = F.dropout(F.relu(self.normalize(x, 7)), 0.5)
        return F.linear(x, self.weight("fc2"), self.p["fc2.bias"])

    def step(self, images: torch.Tensor, labels: torch.Tensor, rate: float, clip: bool, soft: bool) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.forward(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        if clip:
            torch.nn.utils.clip_grad_norm_(self.p.values(), 0.5)
        self.optimizer.step()
        if soft:
            with torch.no_grad():
                for parameter in self.p.values():
                    if parameter.dim() >= 2:
                        parameter.copy_(3 * torch.tanh(parameter / 3))
        return loss.item()
