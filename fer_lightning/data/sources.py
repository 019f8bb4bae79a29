"""The faces that the `data` group of a config names: FER2013 from a file, or drawn ones, from the cache or into it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer_lightning.data import synthetic
from fer_lightning.data.cache import cache_root
from fer_lightning.data.cached_faces import CachedFaces, kept_faces, open_faces
from fer_lightning.data.download import fer2013_path
from fer_lightning.data.ferplus import with_votes
from fer_lightning.errors import InputError


def open_source(config: Mapping[str, Any]) -> CachedFaces:
    """Faces by a plain `data` config. Raises InputError for an unknown name, and whatever its reader refuses."""
    match config["name"]:
        case "fer2013" | "ferplus":
            path = fer2013_path(config["path"], config["download"])
            faces = open_faces(path, config["cache_dir"], config["check_counts"])
            if config["name"] == "fer2013":
                return faces
            if config["votes"] is None:
                raise InputError(
                    "data.votes is not set: data=ferplus needs fer2013new.csv, the votes of FER+, "
                    "from https://github.com/microsoft/FERPlus"
                )
            return with_votes(faces, config["votes"], config["soft"])
        case "synthetic":
            if config["path"] is not None:
                raise InputError(
                    f"data.path={config['path']}: synthetic faces are drawn, not read; did you mean data=fer2013?"
                )
            arguments = (config["images"], config["seed"], config["label_noise"])
            drawing = f"{arguments} {hashlib.sha256(Path(synthetic.__file__).read_bytes()).hexdigest()}"
            place = cache_root(config["cache_dir"]) / "synthetic-{}-{}-{}".format(*arguments)
            return kept_faces(place, drawing, lambda: synthetic.synthetic_faces(*arguments))
        case other:
            raise InputError(f"data.name={other!r}: expected fer2013, ferplus or synthetic")
