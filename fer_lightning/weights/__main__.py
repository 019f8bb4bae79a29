"""The model card of the bundled weights as a page, and, in a checkout, another network in their place.

python -m fer_lightning.weights [--output docs/model_card.md]
python -m fer_lightning.weights --replace RUN/checkpoints/best.ckpt --data fer2013.zip
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fer_lightning.cli import fail
from fer_lightning.errors import InputError
from fer_lightning.files import write_atomic, write_json

TITLES = {"fer2013": "FER2013's Training", "ferplus": "FER2013's Training with FER+ labels"}
"""Data that a bundled network may be trained on."""

KEPT = (
    "split", "n", "tta", "accuracy", "accuracy_ci95", "accuracy_unique", "n_unique", "macro_f1", "balanced_accuracy",
    "per_class", "confusion_matrix", "ece", "images_sha256", "data_fingerprint", "checkpoint_sha256", "command",
)  # fmt: skip
"""What the card repeats of an evaluation.json."""


def replace(checkpoint: Path, data: Path, command: str | None) -> None:
    """Make the network of a run the bundled one: weights, card, its evaluations in docs/results, docs/model_card.md.

    The files of before come back where a step fails. Raises InputError outside a checkout and for other data or runs.
    """
    import fer_lightning
    from fer_lightning.export import export
    from fer_lightning.weights import BUNDLED
    from fer_lightning.weights.card import WORDS, model_card, read_card

    package = Path(fer_lightning.__file__).parent
    docs, own = package.parent / "docs", package / "weights" / f"{BUNDLED}.safetensors"
    if not docs.is_dir():
        raise InputError(f"{docs}: no such folder; weights are replaced in a checkout of the project")
    if not data.is_file():
        raise InputError(f"--data {data}: no such file")
    card_file, words = own.with_suffix(".json"), read_card()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / data.name).symlink_to(data.resolve())  # so that the commands in the files name no folder
        _evaluate(work, str(checkpoint.resolve()), data.name, "none", "before")
        new, _ = export(
            checkpoint, output=work / own.name, precision="half", calibration=work / "before/evaluation.json"
        )
        for file in (own, card_file):
            shutil.move(file, work / f"old{file.suffix}")
        try:
            for file in (new, new.with_suffix(".json")):
                shutil.move(file, own.with_suffix(file.suffix))
            sources = {}
            for tta, name in (("none", "evaluation-val.json"), ("flip", "evaluation-val-flip.json")):
                _evaluate(work, BUNDLED, data.name, tta, tta)
                sources[name] = json.loads((work / tta / "evaluation.json").read_text())
            card = json.loads(card_file.read_text())
            card |= {"bytes": own.stat().st_size, "training": training_of(checkpoint, command)}
            card |= {"evaluations": [scores_of(name, one) for name, one in sources.items()]}
            card |= {key: words[key] for key in WORDS}
            page = model_card(card)
        except BaseException:
            for file in (own, card_file):
                shutil.move(work / f"old{file.suffix}", file)
            raise
    write_json(card_file, card)
    results = docs / "results" / BUNDLED
    results.mkdir(parents=True, exist_ok=True)
    for name, evaluation in sources.items():
        write_json(results / name, evaluation)
    write_atomic(docs / "model_card.md", page)


def _evaluate(work: Path, checkpoint: str, data: str, tta: str, folder: str) -> None:
    words = [f"checkpoint={checkpoint}", "data=fer2013", f"data.path={data}", "split=val", f"tta={tta}"]
    command = [sys.executable, "-m", "fer_lightning.evaluate", *words, f"hydra.run.dir={folder}"]
    ended = subprocess.run(command, cwd=work, capture_output=True, text=True, env=os.environ, check=False)
    if ended.returncode:
        raise InputError(ended.stderr.strip().removeprefix("error: ") or f"{shlex.join(command)} failed")


def training_of(checkpoint: Path, command: str | None) -> dict[str, Any]:
    """What the run folder of a checkpoint tells of the training; command: None for that of .hydra/overrides.yaml."""
    import yaml

    run = checkpoint.resolve().parent.parent
    try:
        metrics = json.loads((run / "metrics.json").read_text())
        overrides = yaml.safe_load((run / ".hydra" / "overrides.yaml").read_text())
        keys = ("parameters", "split_sizes", "best_epoch", "epochs", "seed", "seconds", "images_per_second")
        known = {"title": TITLES[metrics["data"]], **{key: metrics[key] for key in keys}}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{run}: not the folder of a finished run on FER2013 ({error})") from error
    words = [f"data.path={Path(word).name}" if word.startswith("data.path=") else word for word in overrides]
    words = [word for word in words if word.partition("=")[0] not in ("resume", "data.cache_dir")]
    return {"command": command or f"python -m fer_lightning.train {shlex.join(words)}"} | known


def scores_of(source: str, evaluation: dict[str, Any]) -> dict[str, Any]:
    """What the card says of an evaluation, with Wilson's intervals by class and of the accuracy without copies."""
    from fer_lightning.evaluation.metrics import wilson_interval

    scores = {"source": source, **{key: evaluation[key] for key in KEPT}}
    unique, matrix = evaluation["n_unique"], evaluation["confusion_matrix"]
    scores["accuracy_unique_ci95"] = wilson_interval(round(evaluation["accuracy_unique"] * unique), unique)
    scores["per_class"] = {}
    for row, (name, metrics) in enumerate(evaluation["per_class"].items()):
        called = sum(line[row] for line in matrix)
        intervals = {
            "recall_ci95": wilson_interval(matrix[row][row], metrics["n"]),
            "precision_ci95": wilson_interval(matrix[row][row], called) if called else (0.0, 1.0),
        }
        scores["per_class"][name] = metrics | intervals
    return json.loads(json.dumps(scores))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Exits with 2 for files that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m fer_lightning.weights",
        description="Print the model card of the bundled weights, or, in a checkout, bundle another network.",
        epilog="--replace fits the temperature on PublicTest, writes weights of 16 bits, scores them without and with "
        "flip, and writes the card, docs/results/bundled and docs/model_card.md.",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the page goes; default: printed")
    parser.add_argument("--replace", type=Path, metavar="C", help="RUN/checkpoints/best.ckpt of the network to bundle")
    parser.add_argument("--data", type=Path, metavar="P", help="with --replace: FER2013, as data.path takes it")
    parser.add_argument("--command", help="with --replace: the training command; default: the overrides of the run")
    given = parser.parse_args(arguments)
    if bool(given.replace) != bool(given.data) or (given.replace and given.output):
        parser.error("--replace and --data go together, without --output")
    try:
        if given.replace:
            replace(given.replace, given.data, given.command)
            return
        from fer_lightning.weights.card import model_card, read_card

        page = model_card(read_card())
        if given.output:
            write_atomic(given.output, page)
        else:
            print(page, end="")
    except InputError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
