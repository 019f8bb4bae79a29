"""Facial-expression recognition on FER2013: an experiment suite on PyTorch Lightning with Hydra sweeps."""

__version__ = "0.1.0"
