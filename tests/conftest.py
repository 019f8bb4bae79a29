"""What several chapters of the tests share: where the real set is."""

import os
from pathlib import Path

import pytest

BESIDE_THE_PROJECT = Path(__file__).resolve().parents[2] / "shared" / "data" / "fer2013.zip"


@pytest.fixture(scope="session")
def fer2013() -> Path:
    """The real FER2013 as a zip of images: `FER2013=path`, or ../shared/data/fer2013.zip beside the project."""
    path = Path(os.environ.get("FER2013", BESIDE_THE_PROJECT))
    if not path.exists():
        pytest.skip(f"the real FER2013 is not at {path}; set FER2013=path to run this test")
    return path
