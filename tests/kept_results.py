"""Results as docs/results keeps them, made up, without training anything."""

import json

import numpy as np


def confusion(right, n=700, angry=(3, 2, 1)):
    """Of n images `right` are correct, happy is the easiest; angry is taken for sad, fear, neutral by `angry`."""
    each = n // 7
    matrix = np.zeros((7, 7), dtype=int)
    for emotion in range(7):
        matrix[emotion, emotion] = each
        matrix[emotion, 6 if emotion != 6 else 4] = 0
    wrong = n - right
    for place, weight in zip((4, 2, 6), angry, strict=True):
        matrix[0, place] = 2 * weight
    matrix[0, 0] = each - matrix[0, 1:].sum()
    others = [1, 2, 4, 5, 6]
    share = (wrong - (each - matrix[0, 0])) // len(others)
    for emotion in others:
        matrix[emotion, emotion] -= share
        matrix[emotion, 0] += share
    matrix[6, 6] -= (rest := int(np.trace(matrix)) - right)
    matrix[6, 0] += rest
    assert np.trace(matrix) == right
    return matrix.tolist()


def write_kept(
    folder, name, overrides, right=420, n=700, seed=0, mcnemar=None, train=(0.5, 0.9), val=(0.4, 0.6), **more
):
    """One file of a result; returns its content. train, val: accuracies by epoch."""
    n = 700
    accuracy = right / n
    score = {"split": "val", "tta": "none", "n": n, "accuracy": accuracy, "accuracy_ci95": [0.1, 0.9], "ece": 0.1}
    score |= {"accuracy_unique": accuracy - 0.02, "n_unique": n - 50, "macro_f1": 0.5, "command": "evaluate"}
    score |= {"confusion_matrix": confusion(right, n), "checkpoint_sha256": f"{name:0<64}"[:64]}
    flipped = score | {"tta": "flip", "accuracy": accuracy + 0.01}
    metrics = {"seed": seed, "parameters": 12345, "epochs": len(val), "best_epoch": 1, "seconds": 60.0}
    machine = {"processor": "CPU", "cores": 2, "threads": 1, "gpu": None, "precision": "32-true"}
    content = {"name": name, "model": "conv_deep", "overrides": overrides, "machine": machine, "commit": "abc1234"}
    content |= {"metrics": metrics | {"images_per_second": 10.0}, "versions": {"torch": "2", "lightning": "2"}}
    content |= {"history": {"val/accuracy": list(val), "train/accuracy": list(train)}}
    content |= {"evaluations": [score | ({"mcnemar": mcnemar} if mcnemar else {}), flipped]} | more
    (folder / f"{name}.json").write_text(json.dumps(content))
    return content
