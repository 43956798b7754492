"""Reproduction and ablation suite for arXiv 2603.13931.

"True 4-Bit Quantized Convolutional Neural Network Training on CPU: Achieving Full-Precision Parity".
"""

__version__ = "0.1.0"
