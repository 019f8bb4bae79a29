"""The first training losses of each network of conf/model, kept in tests/training/golden_losses.json.

python tests/golden_losses.py      # writes the file anew, for a deliberate change

On 140 embedded faces, batches of 32, fp32, one thread, contiguous maps, seed 0, and a learning rate of 0.001: at 0.01
the 20th loss differs by per cents between CPUs with and without AVX-512, at 0.001 by 5e-6.
"""

import json
import tempfile
import time
from pathlib import Path

import torch
from lightning.pytorch.callbacks import LambdaCallback
from tiny_runs import NO_FINALE, ON_CPU, run_fit

from fer_lightning.settings import CONF

FILE = Path(__file__).parent / "training" / "golden_losses.json"
NETWORKS = sorted({file.stem for file in (CONF / "model").glob("*.yaml")} - {"alexnet", "vgg16"})  # the large ones
STEPS = 20


def golden_losses() -> dict[str, list[float]]:
    """The losses in the file, by network."""
    return json.loads(FILE.read_text())


def training_losses(model: str, steps: int, folder: Path) -> list[float]:
    """The loss of each of the first training steps of a network."""
    losses: list[float] = []
    keep = LambdaCallback(on_train_batch_end=lambda trainer, module, outputs, *_: losses.append(float(outputs["loss"])))
    setting = [
        "data.images=140",
        "data.batch_size=32",
        "memory_format=contiguous",
        "optimizer.lr=0.001",
        "draw.every=0",
    ]
    length = ["trainer.max_epochs=7", f"+trainer.max_steps={steps}"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run_fit(folder, f"model={model}", *setting, *ON_CPU, *NO_FINALE, *length, callbacks=[keep])
    finally:
        torch.set_num_threads(threads)
    return losses


if __name__ == "__main__":
    golden = {}
    for name in NETWORKS:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as place:
            golden[name] = training_losses(name, STEPS, Path(place) / "run")
        print(f"{name}: {time.perf_counter() - begin:.1f} s, {golden[name][0]:.4f} to {golden[name][-1]:.4f}")
    lines = [f' "{name}": {json.dumps(losses)}' for name, losses in golden.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
