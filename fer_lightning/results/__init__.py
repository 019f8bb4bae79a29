"""Results that are kept: one small file for each run in docs/results, and RESULTS.md and README's table made of them.

May import report, evaluation, figures, networks, data, cli and the modules at the root; loads neither Lightning nor
Optuna.
"""
