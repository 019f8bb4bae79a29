"""The report: figures and tables of many runs and searches on one HTML page, and as Markdown.

May import data, figures, evaluation and the modules at the root; loads neither Lightning nor Hydra nor Optuna.
"""
