"""HTML of faces for the page: crop, Grad-CAM and bars of the seven probabilities."""

import base64
import io
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from jinja2 import Environment
from PIL import Image

from fer_lightning.figures.sheets import overlay_heat, png
from fer_lightning.recognition.drawing import COLOURS
from fer_lightning.recognition.recognizer import Face
from fer_lightning.recognition.timeline import Seen
from fer_lightning.templates import environment

SHOWN = 24
"""Faces of one picture that get a card; all are in the annotated picture and in the data."""


def face_cards(faces: Sequence[Face], crops: np.ndarray, heat: np.ndarray | None, missing: str | None) -> str:
    """A card for each face: what the network sees, Grad-CAM of its emotion, seven bars.

    crops: (N, side, side) or (N, side, side, 3) uint8; heat: (N, side, side), 0 to 1, or None where it is missing, for
    the reason `missing`.
    """
    cards = []
    for number, face in enumerate(faces[:SHOWN]):
        crop = torch.tensor(crops[number]).reshape(*crops.shape[1:3], -1).permute(2, 0, 1)  # (C, side, side)
        overlay = None if heat is None else png(overlay_heat(crop[None], torch.from_numpy(heat[number])[None])[0])
        cards.append((face, data_uri(png(crop)), overlay and data_uri(overlay)))
    return _render("faces.html", cards=cards, missing=missing, more=len(faces) - len(cards), colours=COLOURS)


def seen_table(seen: Sequence[Seen], seconds: float) -> str:
    """A table of the faces of a video: when each was seen, and its emotion."""
    shown = sorted(sorted(seen, key=lambda face: -face.frames)[:SHOWN], key=lambda face: face.id)
    return _render("seen.html", seen=shown, more=len(seen) - len(shown), seconds=seconds, colours=COLOURS)


def header(title: str) -> str:
    """The top of the page: what it is, and what the law says."""
    return _render("header.html", title=title)


def message(text: str, advice: str = "", kind: str = "note") -> str:
    """A message in a box. kind: note, or error."""
    return _render("message.html", text=text, advice=advice, kind=kind)


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """A file as the source of an <img>."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def live_picture(picture: Image.Image) -> str:
    """<img> of a camera's annotated picture."""
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=85)
    return _render("picture.html", source=data_uri(content.getvalue(), "image/jpeg"))


def style() -> str:
    """The page's style sheet."""
    return _render("page.css")


def _render(name: str, **values: object) -> str:
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> Environment:
    return environment("fer_lightning.demo_page", autoescape=True)
