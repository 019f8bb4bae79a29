"""How large the package is, and how many of its modules an image passes on its way from a file to logits.

python benchmarks/size.py
"""

import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from PIL import Image

import fer_lightning

PACKAGE = Path(fer_lightning.__file__).parent


def sizes() -> dict[str, int]:
    """Files and lines of the package."""
    files = sorted(PACKAGE.rglob("*.py"))
    loose = [file for file in PACKAGE.glob("*.py") if not file.stem.startswith("__")]
    commands = [file for file in loose if "def main(" in file.read_text()]
    return {
        "files": len(files),
        "lines": sum(len(file.read_text().splitlines()) for file in files),
        "commands": len(commands),
        "other modules at the root": len(loose) - len(commands),
        "longest": max(len(file.read_text().splitlines()) for file in files),
    }


def passed() -> list[str]:
    """The modules whose functions run while an image goes from a zip of JPEGs to the logits of a hybrid network."""
    from fer_lightning.data.augmentation import flip  # noqa: F401
    from fer_lightning.data.datamodule import FaceDataModule
    from fer_lightning.networks import build_network
    from fer_lightning.settings import TrainSettings, defaults, restore

    names = {
        "data": "fer2013",
        "model": "hybrid_poster",
        "optimizer": "sgd",
        "schedule": "constant",
        "logger": "tensorboard",
    }
    values: dict[str, Any] = {group: defaults(group, name) for group, name in names.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.zip"
        write_faces(path)
        values["data"] |= {"path": str(path), "cache_dir": folder, "check_counts": False, "batch_size": 2}
        values["data"]["augment"] = values["data"]["augment"] | {"shift": 1.0}
        settings = restore(TrainSettings, values | {"trainer": defaults("trainer", "default")}, 2, "size.py")
        network = build_network(settings.model, settings.data.inputs)
        seen: set[str] = set()

        def note(frame: FrameType, event: str, argument: object) -> None:
            name = str(frame.f_globals.get("__name__", ""))
            if event == "call" and name.startswith("fer_lightning.") and frame.f_code.co_name != "<module>":
                seen.add(name.removeprefix("fer_lightning."))

        sys.setprofile(note)
        try:
            datamodule = FaceDataModule(settings.data, with_hog=True)
            datamodule.setup()
            batch = next(iter(datamodule.train_dataloader()))
            network(batch.images, batch.hog)
        finally:
            sys.setprofile(None)
    return sorted(name for name in seen if name.split(".")[0] in ("data", "networks", "hog"))


def write_faces(path: Path) -> None:
    """A zip of two random faces of each expression in train and one in val."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for split, count in (("train", 2), ("val", 1)):
            for expression in fer_lightning.EXPRESSIONS:
                for number in range(count):
                    content = io.BytesIO()
                    Image.fromarray(rng.integers(0, 256, (48, 48), dtype=np.uint8)).save(content, "JPEG")
                    archive.writestr(f"{split}/{expression}/{split}{number}.jpg", content.getvalue())


if __name__ == "__main__":
    modules = passed()
    figures = sizes() | {"modules that an image passes": len(modules)}
    for name, value in figures.items():
        print(f"{name:32}{value:>8,}")
    print("  " + ", ".join(modules))
    print(json.dumps(figures | {"passed": modules}))
