"""DeepDream: seconds for the seven emotions with conv_poster, with octaves and without (as many steps at full size).

Also the probability that each dream reaches, and its roughness.

python benchmarks/deepdream.py [checkpoint]      # default: conv_poster, trained for two epochs on synthetic faces
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import hydra
import torch
from record import report, row
from rich.console import Console

from fer_lightning.cli import settings_of
from fer_lightning.data.faces import VAL
from fer_lightning.data.sources import open_faces
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.activations import one_face_each
from fer_lightning.figures.deepdream import CERTAIN, dream, total_variation, towards_emotion
from fer_lightning.networks import ExpressionNetwork
from fer_lightning.networks.weight_files import load_network
from fer_lightning.settings import CONF, TrainSettings
from fer_lightning.training.fit import fit

ROUNDS = 3
OCTAVES, STEPS = 3, 24
OVERRIDES = ["model=conv_poster", "data.images=1000", "data.batch_size=32", "trainer.max_epochs=2", "draw.every=0"]


def briefly_trained(settings: TrainSettings) -> ExpressionNetwork:
    with tempfile.TemporaryDirectory() as folder:
        fit(settings, Path(folder), Console(quiet=True))
        return load_network(Path(folder) / "checkpoints" / "last.ckpt").network


def main() -> None:
    torch.set_num_threads(min(torch.get_num_threads(), 2))
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        settings = settings_of(hydra.compose("config", OVERRIDES), TrainSettings)
    network = load_network(Path(sys.argv[1])).network if len(sys.argv) > 1 else briefly_trained(settings)
    drawn = open_faces(settings.data)
    rows = drawn.rows(VAL)
    images, labels = torch.tensor(drawn.images[rows])[:, None], torch.tensor(drawn.labels[rows])
    faces = images[one_face_each(images, labels, len(EXPRESSIONS))[-1:]].expand(len(EXPRESSIONS), -1, -1, -1)
    targets = torch.arange(len(EXPRESSIONS))
    objective = towards_emotion(network, targets)
    seconds: dict[str, list[float]] = {"octaves": [], "without": []}
    reached, roughness = {}, {}
    for _ in range(ROUNDS):  # in turn, so that a slow moment of the machine hits both
        for name, (octaves, steps) in (("octaves", (OCTAVES, STEPS)), ("without", (1, OCTAVES * STEPS))):
            begin = time.perf_counter()
            dreams = dream(faces, objective, octaves, steps, least=CERTAIN)
            seconds[name].append(time.perf_counter() - begin)
            with torch.no_grad():
                reached[name] = network(dreams).softmax(dim=1).gather(1, targets[:, None])[:, 0]
            roughness[name] = float(total_variation(dreams).mean())
    for name, times in seconds.items():
        print(
            f"{name:8} {statistics.median(times):.2f} s, least probable dream {float(reached[name].min()):.3f}, "
            f"total variation {roughness[name]:.1f} grey values a pixel"
        )
    result = {
        "seconds": statistics.median(seconds["octaves"]),
        "seconds_without_octaves": statistics.median(seconds["without"]),
        "least_probability": float(reached["octaves"].min()),
        "least_probability_without_octaves": float(reached["without"].min()),
        "total_variation": roughness["octaves"],
        "total_variation_without_octaves": roughness["without"],
        "total_variation_of_the_face": float(total_variation(faces.float()).mean()),
        "threads": torch.get_num_threads(),
    }
    times_of = result["seconds"], result["seconds_without_octaves"]
    rows = [row("DeepDream of 7 emotions; without octaves", *times_of, "s", at_most=20, of="ours")]
    report("deepdream", rows, **result)


if __name__ == "__main__":
    main()
