"""Cameras, read live: of frames that come faster than they are used, the newest."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from fer_lightning.errors import InputError
from fer_lightning.recognition.video_files import Frame, Video, load_av

PATIENCE = 10.0
"""Seconds after which a camera that sends nothing is given up."""


class Device(NamedTuple):
    """How FFmpeg opens a camera: the name of the device, its format, and options."""

    name: str
    format: str
    options: dict[str, str]


def device_of(camera: str) -> Device:
    """The device of a camera: a number, or on Windows and Linux also a name. Raises InputError for others."""
    if sys.platform == "darwin":
        return Device(camera, "avfoundation", {"framerate": "30"})
    if sys.platform == "win32":
        if camera.isdecimal():
            raise InputError(f'--camera {camera}: on Windows give its name, as in --camera "Integrated Camera"')
        return Device(f"video={camera}", "dshow", {})
    return Device(f"/dev/video{camera}" if camera.isdecimal() else camera, "v4l2", {})


class Camera:
    """An open camera; iterating gives the newest frame each time, until `stopped` or the camera ends."""

    def __init__(self, video: Video, stopped: Callable[[], bool]):
        self.size, self.rate, self._video, self._stopped = video.size, video.rate, video, stopped
        self._newest: Frame | None = None
        self._ended, self._given_up = False, False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)

    @property
    def problem(self) -> str | None:
        """Why the camera ended by itself, or None."""
        return self._video.problem

    def __iter__(self) -> Iterator[Frame]:
        self._reader.start()
        while not self._stopped():
            with self._changed:
                self._changed.wait_for(lambda: self._newest or self._ended, timeout=0.1)
                frame, self._newest = self._newest, None
            if frame is not None:
                yield frame
            elif self._ended:
                return

    def close(self) -> None:
        """Stop reading."""
        self._given_up = True
        if self._reader.is_alive():
            self._reader.join(PATIENCE)

    def _read(self) -> None:
        for frame in self._video:
            with self._changed:
                self._newest = frame
                self._changed.notify()
            if self._given_up:
                break
        with self._changed:
            self._ended = True
            self._changed.notify()


@contextmanager
def open_camera(camera: str, stopped: Callable[[], bool]) -> Iterator[Camera]:
    """A camera, see `device_of`. stopped: is asked between frames. Raises InputError where it cannot be opened."""
    av, device = load_av(), device_of(camera)
    where = f"--camera {camera}"
    if not any(device.format in name.split(",") for name in av.formats_available):
        raise InputError(f"{where}: the installed package av reads no cameras here (no {device.format})")
    try:
        container = av.open(device.name, format=device.format, options=device.options, timeout=PATIENCE)
    except OSError as error:  # of FFmpeg too
        raise InputError(f"{where}: {_reason(error, device)}") from error
    with container:
        opened = Camera(Video(container, where), stopped)
        try:
            yield opened
        finally:
            opened.close()


def _reason(error: OSError, device: Device) -> str:
    others = sorted(str(path) for path in Path("/dev").glob("video*")) if device.format == "v4l2" else []
    there = f" Cameras here: {', '.join(others)}." if others else ""
    if isinstance(error, FileNotFoundError):
        return f"no such camera ({device.name}).{there or ' There is none here.'}"
    if isinstance(error, PermissionError):
        return f"{device.name} may not be read; on Linux, cameras are for members of the group video"
    return f"{device.name} cannot be read ({error.strerror or error}); does another program use it?{there}"
