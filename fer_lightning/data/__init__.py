"""Faces from any source to whole batches: readers, cache, copies, augmentation, loader, data module.

May import settings, expressions, errors, files, seeding and hog; knows nothing of networks, figures and training.
Lightning is seen in `datamodule` alone.
"""
