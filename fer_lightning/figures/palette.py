"""Colours of the emotions, in the order of EXPRESSIONS."""

COLOURS = ("#c2452d", "#7a9a3b", "#8a5aa8", "#e0a21b", "#4878a8", "#2f9a8f", "#777777")
"""On white: told apart in print and by most colour-blind readers (legends are in the order of what they name)."""
