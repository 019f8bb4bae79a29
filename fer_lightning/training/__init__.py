"""Training: LightningModules around the networks, one run from its start or from where it stopped, cross-validation.

May import data, networks, figures and the root's files. Lightning is seen here and in data/datamodule alone.
"""
