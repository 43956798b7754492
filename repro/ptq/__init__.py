"""Post-training quantisation: a trained FP32 model gets 4-bit weights without any training."""

from repro.ptq.methods import PTQ_METHODS, quantize_model
from repro.ptq.restore import attach_stored

__all__ = ["PTQ_METHODS", "attach_stored", "quantize_model"]
