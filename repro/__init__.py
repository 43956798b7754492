"""Reproduction suite for "True 4-Bit Quantized Convolutional Neural Network Training on CPU", arXiv 2603.13931."""

__version__ = "0.1.0"
