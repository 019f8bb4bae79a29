"""A headless Chromium that playwright drives, for tests of pages.

Skips where there is no Chromium (`CHROMIUM=path`, or `chromium` on the PATH) or no playwright to drive it with.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
FLAGS += ("--disable-component-update", "--disable-sync")


@contextmanager
def started_chromium(*flags: str) -> Iterator[Any]:
    """A browser of playwright's. flags: of the command line, besides FLAGS."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path:
        pytest.skip("there is no Chromium on the PATH; set CHROMIUM=path, or install Debian's package chromium")
    with driver.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        yield chromium
        chromium.close()
