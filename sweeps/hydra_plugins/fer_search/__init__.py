"""Hydra's way into the search: the sweeper, and where the search spaces lie. Imported at every start of Hydra."""
