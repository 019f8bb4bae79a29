"""Hydra's way into the search. Imported at every start of Hydra: everything heavy is imported inside functions."""
