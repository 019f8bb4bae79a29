"""The hyper-parameter search: an Optuna study in which each trial is a cross-validation. Started by `--multirun`."""
