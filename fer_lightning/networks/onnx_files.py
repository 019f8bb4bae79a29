"""A network as an ONNX file: grey faces of any size in, probabilities out, its card in the file's metadata."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

NEEDED = "pip install 'fer_lightning[onnx]'"
"""What installs onnx, onnxscript and onnxruntime."""

FACES, PROBABILITIES = "faces", "probabilities"
"""Names of the graph's input, uint8 (N, H, W), and output, float32 (N, 7)."""


class OnnxNetwork:
    """An exported network, run by onnxruntime on the CPU. names: the classes in order; card: what its file says of it.

    Threads may share it.
    """

    def __init__(self, session: Any, names: tuple[str, ...], card: dict[str, Any]):
        self.names, self.card = names, card
        self._session = session

    def probabilities(self, faces: np.ndarray) -> np.ndarray:
        """Probabilities (N, 7), float32, of grey faces (N, H, W), uint8; N may be 0."""
        if faces.ndim != 3 or faces.dtype != np.uint8 or 0 in faces.shape[1:]:
            raise InputError(f"faces of shape {faces.shape} and type {faces.dtype}: expected (N, H, W) and uint8")
        if not len(faces):
            return np.zeros((0, len(self.names)), np.float32)
        (found,) = self._session.run([PROBABILITIES], {FACES: np.ascontiguousarray(faces)})
        return found


def load_onnx(path: Path, threads: int = 0) -> OnnxNetwork:
    """The network of a file that `fer_lightning.export --format onnx` wrote.

    threads: of onnxruntime; 0 takes one for each core. Raises InputError for any other file, and, with the line that
    installs it, where onnxruntime is missing.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path}: an ONNX file needs onnxruntime: {NEEDED}") from error
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        about = session.get_modelmeta().custom_metadata_map
        names, card = tuple(json.loads(about["names"])), json.loads(about["card"])
        signature = [(end.name, end.type, len(end.shape)) for end in (*session.get_inputs(), *session.get_outputs())]
    except Exception as error:  # hostile bytes raise anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: not an ONNX file of fer_lightning.export, or damaged ({reason[:200]})") from error
    expected = [(FACES, "tensor(uint8)", 3), (PROBABILITIES, "tensor(float)", 2)]
    if signature != expected or names != EXPRESSIONS or not isinstance(card, dict):
        raise InputError(f"{path}: not an ONNX file of fer_lightning.export (it has other inputs, outputs or names)")
    return OnnxNetwork(session, names, card)
