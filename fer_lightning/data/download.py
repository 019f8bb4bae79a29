"""Where FER2013 is obtained. It is for research use, and not shipped with this project."""

import logging
from pathlib import Path

from fer_lightning.errors import InputError

DATASET = "msambare/fer2013"
COMPETITION = "challenges-in-representation-learning-facial-expression-recognition-challenge"

WHERE = (
    f"FER2013 is obtained, free of charge, from https://www.kaggle.com/datasets/{DATASET} (images) or "
    f"https://www.kaggle.com/competitions/{COMPETITION}/data (csv). Then data.path=<the csv, folder, zip or tar>; "
    "or data.download=true fetches it with kagglehub (pip install 'fer_lightning[download]')."
)

log = logging.getLogger(__name__)


def fer2013_path(path: str | Path | None, download: bool = False) -> str | Path:
    """`path`, or the folder into which kagglehub downloads the set when there is no path and `download` is true.

    kagglehub keeps what it has downloaded and is imported only here. Raises InputError, which says where the set is
    obtained, when there is neither path nor download, both, or the download fails.
    """
    if path and download:
        raise InputError(f"data.path={path} and data.download=true exclude one another; which is to be used?")
    if path:
        return path
    if not download:
        raise InputError(f"data.path is not set. {WHERE}")
    try:
        import kagglehub
    except ImportError as error:
        raise InputError(
            "data.download=true needs kagglehub, which is not installed: pip install 'fer_lightning[download]'"
        ) from error
    log.info("fetching https://www.kaggle.com/datasets/%s with kagglehub", DATASET)
    try:
        return str(kagglehub.dataset_download(DATASET))
    except Exception as error:  # no network, no account, no such set: kagglehub has a dozen ways to say so
        raise InputError(f"data.download=true: kagglehub could not fetch {DATASET}: {error}. {WHERE}") from error
