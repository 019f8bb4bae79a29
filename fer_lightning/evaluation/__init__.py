"""Metrics, test-time augmentation and ensembles, and the records of evaluations. Not for training.

May import data, networks, figures and the modules at the root; loads neither Lightning nor Hydra.
"""
