"""Hydra's way into a plain --multirun, without a study. Imported at every start of Hydra: nothing heavy."""
