"""DeepDream: seconds for the seven emotions with conv_poster, with octaves and without (as many steps at full size).

Also the probability that each dream reaches, and how rough it is.

python benchmarks/deepdream.py [checkpoint]      # default: conv_poster, trained for a few steps on synthetic faces
"""

import json
import statistics
import sys
import time
from pathlib import Path

import hydra
import torch

from fer_lightning.checkpoints import load_classifier
from fer_lightning.classifiers import ExpressionClassifier
from fer_lightning.commands import CONF
from fer_lightning.config import plain
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import VAL
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.optimization import build_optimizer
from fer_lightning.run import build
from fer_lightning.visualize.activations import one_face_each
from fer_lightning.visualize.deepdream import CERTAIN, dream, total_variation, towards_emotion

ROUNDS = 3
OCTAVES, STEPS = 3, 24


def briefly_trained(config: dict) -> tuple[FaceDataModule, ExpressionClassifier]:
    """conv_poster after two epochs in a bare loop."""
    datamodule, classifier = build(config)
    optimizer = build_optimizer(classifier.network, config["optimizer"])
    loader = datamodule.train_dataloader()
    for epoch in range(2):
        loader.set_epoch(epoch)
        for batch in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(classifier(batch.images, batch.hog), batch.targets).backward()
            optimizer.step()
    return datamodule, classifier.eval()


def main() -> None:
    torch.set_num_threads(min(torch.get_num_threads(), 2))
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = plain(hydra.compose("config", ["model=conv_poster", "data.images=1000", "data.batch_size=32"]))
    if len(sys.argv) > 1:
        classifier = load_classifier(Path(sys.argv[1]))
        datamodule = FaceDataModule(config["data"])
        datamodule.setup()
    else:
        datamodule, classifier = briefly_trained(config)
    rows = datamodule.rows[VAL]
    images, labels = datamodule.tensors.images[rows], datamodule.tensors.labels[rows]
    faces = images[one_face_each(images, labels, len(EXPRESSIONS))[-1:]].expand(len(EXPRESSIONS), -1, -1, -1)
    targets = torch.arange(len(EXPRESSIONS))
    objective = towards_emotion(classifier.classify, targets)
    seconds: dict[str, list[float]] = {"octaves": [], "without": []}
    reached, roughness = {}, {}
    for _ in range(ROUNDS):  # in turn, so that a slow moment of the machine hits both
        for name, settings in (("octaves", (OCTAVES, STEPS)), ("without", (1, OCTAVES * STEPS))):
            begin = time.perf_counter()
            dreams = dream(faces, objective, *settings, least=CERTAIN)
            seconds[name].append(time.perf_counter() - begin)
            with torch.no_grad():
                reached[name] = classifier.classify(dreams).softmax(dim=1).gather(1, targets[:, None])[:, 0]
            roughness[name] = float(total_variation(dreams).mean())
    for name, times in seconds.items():
        print(
            f"{name:8} {statistics.median(times):.2f} s, least probable dream {float(reached[name].min()):.3f}, "
            f"total variation {roughness[name]:.1f} grey values a pixel"
        )
    result = {
        "benchmark": "deepdream",
        "seconds": statistics.median(seconds["octaves"]),
        "seconds_without_octaves": statistics.median(seconds["without"]),
        "least_probability": float(reached["octaves"].min()),
        "least_probability_without_octaves": float(reached["without"].min()),
        "total_variation": roughness["octaves"],
        "total_variation_without_octaves": roughness["without"],
        "total_variation_of_the_face": float(total_variation(faces.float()).mean()),
        "threads": torch.get_num_threads(),
        "target": "20 seconds or less on two cores",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
