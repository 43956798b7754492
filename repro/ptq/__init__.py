"""Post-training quantisation: a trained FP32 model gets 4-bit weights without any training."""

from repro.ptq.methods import quantize_model
from repro.ptq.restore import attach_stored

__all__ = ["attach_stored", "quantize_model"]
