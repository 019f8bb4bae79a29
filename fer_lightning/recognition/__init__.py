"""A photo in, faces with emotions out: pictures, detectors, crops, the recognizer, drawing.

May import evaluation, networks, data, figures and the modules at the root; loads neither Lightning nor Hydra, and torch
only in `Recognizer.load`.
"""
