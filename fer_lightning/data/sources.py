"""The faces that the `data` settings name, from the cache: read or drawn the first time, memory-mapped afterwards."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from fer_lightning.data import synthetic, synthetic_colours
from fer_lightning.data.archives import existing_path, files_in, report_damage
from fer_lightning.data.cache import Arrays, cache_root, cached_arrays
from fer_lightning.data.faces import SIDE, Faces, content_checksum
from fer_lightning.data.fer2013 import fer2013_path, require_official_counts
from fer_lightning.data.ferplus import relabel
from fer_lightning.data.ferplus_folders import read_ferplus_folders
from fer_lightning.data.near_copies import NEAR, VERSION, near_pairs
from fer_lightning.data.picture_forms import FER2013_FORM, PictureForm
from fer_lightning.data.reader import read_faces
from fer_lightning.data.tensors import chunks_of_rows, picture_tensor
from fer_lightning.errors import InputError
from fer_lightning.hog import hog, hog_length
from fer_lightning.pixels import fit, grey
from fer_lightning.settings import DataSettings, FerPlusData, HogSettings, SyntheticData

HEAD, TAIL = 1 << 20, 4 << 20  # bytes of a file that are hashed; a zip's directory of checksums is at its end

F = TypeVar("F", bound=Faces)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedFaces(Faces):
    """Faces whose arrays are memory-mapped, read-only.

    folder: of the cache, where HOG features are kept too. fingerprint: checksum of images, labels and split, from
    whatever file they were read. shares: (N, 7) float32, shares of expressions to train on, or None to train on labels.
    whole, kept: the faces in the cache, and which of their rows these are, where they are not all of them.
    """

    folder: Path = Path()
    fingerprint: str = ""
    shares: np.ndarray | None = None
    whole: "CachedFaces | None" = None
    kept: np.ndarray | None = None


def open_faces(settings: DataSettings, check_counts: bool | None = None) -> CachedFaces:
    """Faces by the `data` settings. check_counts: overrides the setting. Raises InputError for what cannot be read."""
    if isinstance(settings, SyntheticData):
        if settings.path is not None:
            why = "synthetic faces are drawn, not read; did you mean data=fer2013?"
            raise InputError(f"data.path={settings.path}: {why}")
        return _open_synthetic(settings)
    path = settings.path
    if not path or settings.download:
        path = str(fer2013_path(path, settings.download))
    check = settings.check_counts if check_counts is None else check_counts
    form = PictureForm.of(settings)
    if not isinstance(settings, FerPlusData):
        return open_fer2013(path, settings.cache_dir, check, dict(settings.labels or ()), form)
    if settings.votes is None:
        faces = _open_source(existing_path(path), settings.cache_dir, read_ferplus_folders, "votes", form)
    else:
        faces = open_fer2013(path, settings.cache_dir, check, form=form)
    rows, labels, shares, note = relabel(faces, settings.votes, settings.soft)
    images, split, copy_groups = (array[rows] for array in (faces.images, faces.split, faces.copy_groups))
    part = Faces(images, labels, split, copy_groups, (*faces.notes, note))
    chosen = replace(faces, **vars(part), shares=shares, whole=faces, kept=rows)
    checksum = content_checksum(chosen) + ("" if shares is None else shares.tobytes().hex())
    return replace(chosen, fingerprint=hashlib.sha256(checksum.encode()).hexdigest())


def _open_synthetic(settings: SyntheticData) -> CachedFaces:
    """Faces that the program draws: in grey at 48 pixels, in colour at the size that is wanted."""
    arguments, form = (settings.images, settings.seed, settings.label_noise), PictureForm.of(settings)
    program = hashlib.sha256(Path(synthetic.__file__).read_bytes()).hexdigest()
    folder = cache_root(settings.cache_dir) / "synthetic-{}-{}-{}".format(*arguments)
    if form.channels == 1:
        return _cached_faces(folder, f"{arguments} {program}", lambda: synthetic.synthetic_faces(*arguments))
    program += hashlib.sha256(Path(synthetic_colours.__file__).read_bytes()).hexdigest()
    return _cached_faces(
        folder.with_name(f"{folder.name}-colour-{form.side}"),
        f"{arguments} {form.side} {program}",
        lambda: synthetic.synthetic_faces(*arguments, side=form.side),
    )


def open_fer2013(
    path: str | Path,
    cache_dir: str | Path | None = None,
    check_counts: bool = True,
    labels: Mapping[str, str | None] | None = None,
    form: PictureForm = FER2013_FORM,
) -> CachedFaces:
    """FER2013 from a csv, folder, zip or tar, by way of the cache.

    cache_dir: None for the user's cache folder. check_counts: whether class counts other than FER2013's raise
    InputError, as does anything that `read_faces` cannot read, and a cache folder that cannot be written. labels,
    form: as of `read_faces`.
    """
    source = existing_path(path)

    def checked(faces: F) -> F:
        if check_counts:
            require_official_counts(faces, str(source))
        return faces

    how = json.dumps(sorted(labels.items())) if labels else ""
    return checked(
        _open_source(source, cache_dir, lambda path, form: checked(read_faces(path, labels, form)), how, form)
    )


def _open_source(
    source: Path,
    cache_dir: str | Path | None,
    read_source: Callable[[Path, PictureForm], Faces],
    how: str,
    form: PictureForm,
) -> CachedFaces:
    """The faces of a source, by way of the cache. how: what the reader depends on besides source and form."""
    fingerprint = source_fingerprint(source)
    if form != FER2013_FORM:
        how = f"{how}\nchannels {form.channels}, side {form.side}"
    place = f"{source.resolve()}{how and chr(10)}{how}"
    key = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:12]

    def read() -> Faces:
        log.info("reading %s into the cache; this is done once", source)
        faces = read_source(source, form)
        if source_fingerprint(source) != fingerprint:
            raise InputError(f"{source}: changed while it was read; start again when it is complete")
        return faces

    return _cached_faces(cache_root(cache_dir) / f"{source.name[:80]}-{key}", fingerprint, read)


def cached_hog(faces: CachedFaces, settings: HogSettings) -> np.ndarray:
    """HOG of every face, (2, N, hog_length) float32, plain and mirrored, by way of the cache.

    Of the image made grey and 48 x 48 as Pillow does both, which is what the networks compute.
    """
    if faces.whole is not None:
        return cached_hog(faces.whole, settings)[:, faces.kept]
    values = dict(settings)

    def build() -> Arrays:
        features = np.empty((2, len(faces), hog_length(SIDE, SIDE, **values)), np.float32)
        for rows in chunks_of_rows(faces.images):
            pictures = grey(picture_tensor(faces.images[rows]))[:, 0]
            pictures = pictures if pictures.shape[-1] == SIDE else fit(pictures, SIDE)
            for orientation, turned in enumerate((pictures, pictures.flip(-1))):
                features[orientation, rows] = hog(turned, **values)
        return {"hog": features}

    name = "-".join(["hog", *(str(values[key]) for key in sorted(values))])
    return cached_arrays(faces.folder / name, faces.fingerprint, build)["hog"]


def cached_near_pairs(faces: CachedFaces) -> np.ndarray:
    """Pairs of copy groups whose images are near copies, (P, 2) int32, by way of the cache.

    36,000 images take a few seconds the first time. A cache that cannot be written does without.
    """
    if faces.whole is not None:
        return cached_near_pairs(faces.whole)

    def build() -> Arrays:
        groups, first = np.unique(faces.copy_groups, return_index=True)
        log.info("comparing %s images, to find near copies; this is done once", f"{len(groups):,}")
        pairs = near_pairs(np.ascontiguousarray(faces.images[first]), NEAR).pairs
        return {"pairs": groups[pairs].astype(np.int32)}

    try:
        return cached_arrays(faces.folder / f"near-{NEAR:g}-{VERSION}", faces.fingerprint, build)["pairs"]
    except InputError:
        return build()["pairs"]


def source_fingerprint(path: Path) -> str:
    """A checksum that changes when a csv, archive or folder does. Raises InputError on what cannot be read.

    Of size, time and both ends of a file, in milliseconds; of names, sizes and times below a folder, in half a second
    for 36,000 images.
    """
    if path.is_dir():
        listing = "\n".join(f"{name}\t{status.st_size}\t{status.st_mtime_ns}" for name, status in files_in(path))
        return hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()
    with report_damage(str(path)), path.open("rb") as file:
        status = path.stat()
        digest = hashlib.sha256(f"{status.st_size}\t{status.st_mtime_ns}\n".encode())
        digest.update(file.read(HEAD))
        file.seek(max(HEAD, status.st_size - TAIL))
        digest.update(file.read(TAIL))
    return digest.hexdigest()


def _cached_faces(folder: Path, fingerprint: str, read: Callable[[], Faces]) -> CachedFaces:
    """The faces kept in `folder` for a source of this fingerprint; `read` returns them where they are not there."""

    def build() -> Arrays:
        faces = read()
        arrays = {name: getattr(faces, name) for name in ("images", "labels", "split", "copy_groups")}
        texts = {"notes": "\n".join(faces.notes), "checksum": content_checksum(faces)}
        if faces.votes is not None:
            arrays["votes"] = faces.votes
        return arrays | {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}

    arrays = cached_arrays(folder / "faces", fingerprint, build)
    notes, checksum = (bytes(arrays[name]).decode() for name in ("notes", "checksum"))
    images, labels, split, groups = (arrays[name] for name in ("images", "labels", "split", "copy_groups"))
    votes = arrays.get("votes")
    return CachedFaces(images, labels, split, groups, tuple(notes.splitlines()), votes, folder, checksum)
