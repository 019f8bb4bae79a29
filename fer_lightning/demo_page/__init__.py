"""The page of `python -m fer_lightning.demo`: photos, a camera and videos in a browser on this machine.

May import recognition, figures, data, weights and the modules at the root. gradio is imported inside functions, after
its settings are in the environment.
"""
