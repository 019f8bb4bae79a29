"""Hyper-parameter search: an Optuna study in which each trial is a cross-validation; `--multirun` starts it.

The only folder that imports Optuna. It may import `training` and what that may import, and never Hydra: the sweeper in
sweeps/hydra_plugins turns overrides into a `Space`, and composes the settings of a trial.
"""
