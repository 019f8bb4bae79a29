"""Runs and searches as their files, without training anything."""

import csv
import json


def write_run(folder, model="conv_deep", right=2338, n=3589, data="fer2013", seed=0, **others):
    """A finished run by its two files."""
    folder.mkdir(parents=True)
    accuracy = right / n
    metrics = {"val/accuracy": accuracy, "val/loss": 1.0, "val/macro_f1": 0.5, "train/accuracy": 0.7, "train/loss": 0.8}
    history = {"epoch": 0, **metrics, "lr": 0.1, "images_per_second": 100.0, "seconds": 10.0}
    metrics |= {"best_epoch": 0, "epochs": 1, "parameters": 12345, "seconds": 10.0, "seed": seed, "model": model}
    metrics |= {"data": data, "split_sizes": {"train": 28709, "val": n}, "finished": True} | others
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with open(folder / "history.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history))
        writer.writeheader()
        writer.writerow(history)
    return folder


def write_search(folder):
    """A search as `fer_lightning.search.results` writes it: two complete trials, one pruned, one failed."""
    (folder / "plots").mkdir(parents=True)
    heads = ["trial", "state", "accuracy", "optimizer.lr", "model.hidden", "cv/std", "fold_scores", "wall_seconds"]
    rows = [
        ["0", "COMPLETE", "0.41", "0.0123456", "[256]", "0.01", "0.40 0.42", "9", "1", "", "trial-0000"],
        ["1", "PRUNED", "", "0.3", "[512]", "", "0.20", "5", "1", "", "trial-0001"],
        ["2", "COMPLETE", "0.53", "0.0098768", "[256, 512]", "0.02", "0.51 0.55", "9", "1", "", "trial-0002"],
        ["3", "FAIL", "", "3.1", "[64]", "", "", "1", "1", "diverged", "trial-0003"],
    ]
    with open(folder / "trials.csv", "w", newline="") as file:
        csv.writer(file).writerows([[*heads, "tries", "reason", "folder"], *rows])
    (folder / "best.yaml").write_text("# Trial 2\noverrides:\n- model=conv_deep\n- ++optimizer.lr=0.0098768\n")
    png = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")
    (folder / "plots" / "history.png").write_bytes(png)
    return folder
