"""Figures as pure functions: a network, faces and probabilities in, a picture out; nothing is registered with pyplot.

May import settings, expressions and errors. A picture is a tensor (C, H, W), uint8 or 0 to 1, or a matplotlib Figure.
"""
