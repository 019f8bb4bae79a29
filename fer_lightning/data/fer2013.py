"""FER2013 (Goodfellow et al. 2013, arXiv 1307.0414): class counts, download."""

import logging
from pathlib import Path

import numpy as np

from fer_lightning.data.faces import SPLITS, Faces
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

OFFICIAL_COUNTS = {
    "train": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "val": (467, 56, 496, 895, 653, 415, 607),
    "test": (491, 55, 528, 879, 594, 416, 626),
}
"""Images of each expression, in the order of EXPRESSIONS."""

DATASET = "msambare/fer2013"
COMPETITION = "challenges-in-representation-learning-facial-expression-recognition-challenge"
_OBTAINED = (
    f"FER2013 is obtained, free of charge, from https://www.kaggle.com/datasets/{DATASET} (images) or "
    f"https://www.kaggle.com/competitions/{COMPETITION}/data (csv). Then data.path=<the csv, folder, zip or tar>; "
    "or data.download=true fetches it with kagglehub (pip install 'fer_lightning[download]')."
)

log = logging.getLogger(__name__)


def has_official_counts(faces: Faces) -> bool:
    """Whether every split that is there holds the official number of images of each expression.

    Where the source has no val and one was drawn from train, both together are compared; a `test` folder may then hold
    PublicTest and PrivateTest, and a csv without Usage several parts as one.
    """
    train, val, test = (np.array(faces.counts(split, len(EXPRESSIONS))) for split in range(len(SPLITS)))
    training, public, private = (np.array(OFFICIAL_COUNTS[name]) for name in SPLITS)
    pairs = ((train, training), (val, public), (test, private))
    if all(not counts.any() or (counts == official).all() for counts, official in pairs):
        return True
    none = np.zeros_like(private)
    divisions = [(training, private), (training, public + private), (none, public + private)]
    divisions += [(learned, none) for learned in (training, training + public, training + public + private)]
    return any((train + val == learned).all() and (test == tested).all() for learned, tested in divisions)


def require_official_counts(faces: Faces, where: str) -> None:
    """Raise InputError, with a table of found and official counts, when the faces are not those of FER2013."""
    if has_official_counts(faces):
        return
    lines = [f"{'':16}" + "".join(f"{name:>9}" for name in EXPRESSIONS)]
    for index, split in enumerate(SPLITS):
        for source, counts in (("found", faces.counts(index, len(EXPRESSIONS))), ("official", OFFICIAL_COUNTS[split])):
            lines.append(f"{split:6}{source:10}" + "".join(f"{count:>9,}" for count in counts))
    raise InputError(
        f"{where}: the class counts are not those of FER2013. Is it a copy with augmented or re-split images, or cut "
        "off? data.check_counts=false goes on with it.\n" + "\n".join(lines)
    )


def fer2013_path(path: str | Path | None, download: bool = False) -> str | Path:
    """`path`, or the folder into which kagglehub downloads the set where there is no path and `download` is true.

    Raises InputError, which says where the set is obtained, when there is neither path nor download, both, or the
    download fails.
    """
    if path and download:
        raise InputError(f"data.path={path} and data.download=true exclude one another; which is to be used?")
    if path:
        return path
    if not download:
        raise InputError(f"data.path is not set. {_OBTAINED}")
    try:
        import kagglehub
    except ImportError as error:
        missing = "kagglehub, which is not installed: pip install 'fer_lightning[download]'"
        raise InputError(f"data.download=true needs {missing}") from error
    log.info("fetching https://www.kaggle.com/datasets/%s with kagglehub", DATASET)
    try:
        return str(kagglehub.dataset_download(DATASET))
    except Exception as error:  # no network, no account, no such set: kagglehub raises many types
        raise InputError(f"data.download=true: kagglehub could not fetch {DATASET}: {error}. {_OBTAINED}") from error
