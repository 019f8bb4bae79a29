"""The faces that the `data` settings name, from the cache: parsed or drawn the first time, memory-mapped afterwards."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_lightning.data import synthetic
from fer_lightning.data.archive import existing
from fer_lightning.data.cache import cache_root, cached_arrays, write_array
from fer_lightning.data.download import fer2013_path
from fer_lightning.data.faces import Faces
from fer_lightning.data.fingerprint import content_fingerprint, source_fingerprint
from fer_lightning.data.official import require_official_counts
from fer_lightning.data.reader import read_faces
from fer_lightning.errors import InputError
from fer_lightning.hog import hog, hog_length
from fer_lightning.settings import DataSettings, FerPlusData, HogSettings, SyntheticData

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedFaces(Faces):
    """Faces whose arrays are memory-mapped, read-only.

    folder: where what is computed from these faces (HOG) may be cached too, each under a name of its own.
    fingerprint: checksum of images, labels and split, whatever file they came from.
    shares: (N, 7) float32, the shares of expressions to train on, or None to train on the labels.
    whole, kept: the faces in the cache, and which of their rows these are, where they are not all of them.
    """

    folder: Path = Path()
    fingerprint: str = ""
    shares: np.ndarray | None = None
    whole: "CachedFaces | None" = None
    kept: np.ndarray | None = None


def open_faces(settings: DataSettings, check_counts: bool | None = None) -> CachedFaces:
    """Faces by the `data` settings. check_counts: overrules the setting. Raises InputError for what cannot be read."""
    if isinstance(settings, SyntheticData):
        if settings.path is not None:
            raise InputError(f"data.path={settings.path}: synthetic faces are drawn, not read; did you mean data=fer2013?")
        arguments = (settings.images, settings.seed, settings.label_noise)
        drawing = f"{arguments} {hashlib.sha256(Path(synthetic.__file__).read_bytes()).hexdigest()}"
        place = cache_root(settings.cache_dir) / "synthetic-{}-{}-{}".format(*arguments)
        return kept_faces(place, drawing, lambda: synthetic.synthetic_faces(*arguments))
    path = fer2013_path(settings.path, settings.download)
    faces = open_fer2013(path, settings.cache_dir, settings.check_counts if check_counts is None else check_counts)
    if not isinstance(settings, FerPlusData):
        return faces
    from fer_lightning.data.ferplus import with_votes

    if settings.votes is None:
        raise InputError(
            "data.votes is not set: data=ferplus needs fer2013new.csv, the votes of FER+, "
            "from https://github.com/microsoft/FERPlus"
        )
    return with_votes(faces, settings.votes, settings.soft)


def open_fer2013(path: str | Path, cache_dir: str | Path | None = None, check_counts: bool = True) -> CachedFaces:
    """FER2013 from a csv, folder, zip or tar, parsed into the cache unless it stands there already.

    cache_dir: None for the user's cache folder. check_counts: whether class counts other than FER2013's raise
    InputError, as does anything that `read_faces` cannot read, and a cache folder that cannot be written.
    """
    source = existing(path)
    fingerprint = source_fingerprint(source)
    key = hashlib.sha256(str(source.resolve()).encode(errors="surrogateescape")).hexdigest()[:12]

    def read() -> Faces:
        log.info("reading %s into the cache; this is done once", source)
        faces = read_faces(source)
        if check_counts:
            require_official_counts(faces, str(source))
        if source_fingerprint(source) != fingerprint:
            raise InputError(f"{source}: changed while it was read; start again when it is complete")
        return faces

    faces = kept_faces(cache_root(cache_dir) / f"{source.name[:80]}-{key}", fingerprint, read)
    if check_counts:
        require_official_counts(faces, str(source))
    return faces


def kept_faces(place: Path, fingerprint: str, read: Callable[[], Faces]) -> CachedFaces:
    """The faces kept in `place` for a source of this fingerprint; `read` gives them where they are not there yet."""

    def build(folder: Path) -> None:
        faces = read()
        arrays = {name: getattr(faces, name) for name in ("images", "labels", "split", "copy_groups")}
        arrays["notes"] = np.array("\n".join(faces.notes))
        arrays["fingerprint"] = np.array(content_fingerprint(faces))
        for name, array in arrays.items():
            write_array(folder / f"{name}.npy", array.shape, array.dtype, [array])

    kept: dict[str, Any] = dict(cached_arrays(place, fingerprint, build))
    notes, content = str(kept.pop("notes")), str(kept.pop("fingerprint"))
    return CachedFaces(**kept, notes=tuple(notes.splitlines()), folder=place, fingerprint=content)


def cached_hog(faces: CachedFaces, settings: HogSettings) -> np.ndarray:
    """HOG of every face, (2, N, hog_length) float32, plain and mirrored, from the cache beside the faces or into it."""
    if faces.whole is not None:
        return cached_hog(faces.whole, settings)[:, faces.kept]
    values = dict(settings)
    name = "hog-" + "-".join(str(values[key]) for key in sorted(values))

    def build(folder: Path) -> None:
        images = torch.tensor(faces.images)
        shape = (2, len(faces), hog_length(*images.shape[1:], **values))
        chunks = [chunk for orientation in (images, images.flip(-1)) for chunk in orientation.split(4096)]
        write_array(folder / "hog.npy", shape, np.float32, (hog(chunk, **values).numpy() for chunk in chunks))

    return cached_arrays(faces.folder / name, faces.fingerprint, build)["hog"]
