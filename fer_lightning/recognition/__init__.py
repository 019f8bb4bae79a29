"""A photo or video in, faces with emotions out: pictures, videos, detectors, crops, the recognizer, tracks, drawing.

May import evaluation, networks, data, figures and the modules at the root; loads neither Lightning nor Hydra, and torch
only in `Recognizer.load`.
"""
