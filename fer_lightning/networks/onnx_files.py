"""A network as an ONNX file: faces of any size in, probabilities out, its card in the file's metadata."""

import hashlib
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.files import write_atomic
from fer_lightning.networks.expression_network import ExpressionNetwork
from fer_lightning.networks.preprocessing import SIDE, Form
from fer_lightning.networks.weight_files import TrainedNetwork, card_content
from fer_lightning.pixels import fit, grey

OPSET = 20
"""Version of ONNX's operators."""

TOLERANCE = 1e-5
"""Largest difference of a probability from torch's in a file that is kept."""

NEEDED = "pip install 'fer_lightning[onnx]'"
"""What installs onnx, onnxscript and onnxruntime."""

FACES, PROBABILITIES = "faces", "probabilities"
"""Names of the graph's input, uint8 (N, H, W), or (N, H, W, 3) RGB of a network trained on colour; and output, float32
(N, 7)."""


class AnySize(nn.Module):
    """Faces, uint8, to probabilities (N, 7): what an ONNX file computes, in torch.

    Faces are grey (N, H, W), or of a network that was trained on colour (N, H, W, 3) RGB.
    """

    def __init__(self, network: ExpressionNetwork):
        super().__init__()
        self.network, self.form = network, network.form

    def forward(self, faces: Tensor) -> Tensor:
        if self.form.channels == 1:
            return self.network.probabilities(fit(faces, self.form.side)[:, None])
        return self.network.probabilities(fit(faces.movedim(3, 1), self.form.side))


class OnnxNetwork:
    """An exported network, run by onnxruntime on the CPU. names: the classes in order; card: what its file says of it.

    form: the faces that it was trained on. Threads may share it.
    """

    def __init__(self, session: Any, names: tuple[str, ...], card: dict[str, Any], form: Form):
        self.names, self.card, self.form = names, card, form
        self._session = session

    def probabilities(self, faces: np.ndarray) -> np.ndarray:
        """Probabilities (N, 7), float32, of faces (N, H, W) or in colour (N, H, W, 3), uint8; N may be 0.

        A network of the other form gets colour made grey, or grey in each channel.
        """
        in_colour = faces.ndim == 4 and faces.shape[3] == 3
        if not (faces.ndim == 3 or in_colour) or faces.dtype != np.uint8 or 0 in faces.shape[1:]:
            valid = "(N, H, W), or (N, H, W, 3) in colour, and uint8"
            raise InputError(f"faces of shape {faces.shape} and type {faces.dtype}: expected {valid}")
        if not len(faces):
            return np.zeros((0, len(self.names)), np.float32)
        if in_colour and self.form.channels == 1:
            faces = grey(torch.from_numpy(faces.copy()).movedim(3, 1))[:, 0].byte().numpy()
        elif not in_colour and self.form.channels == 3:
            faces = np.repeat(faces[..., None], 3, axis=3)
        (found,) = self._session.run([PROBABILITIES], {FACES: np.ascontiguousarray(faces)})
        return found


def load_onnx(path: Path, threads: int = 0) -> OnnxNetwork:
    """The network of a file that `fer_lightning.export --format onnx` wrote.

    threads: of onnxruntime; 0 takes one for each core. Raises InputError for any other file, and, with the line that
    installs it, where onnxruntime is missing.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return _open(path.read_bytes(), path, threads)


def _open(content: bytes, path: Path, threads: int) -> OnnxNetwork:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path}: an ONNX file needs onnxruntime: {NEEDED}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        about = session.get_modelmeta().custom_metadata_map
        names, card = tuple(json.loads(about["names"])), json.loads(about["card"])
        form = Form(*(int(value) for value in json.loads(about.get("form", f"[1, {SIDE}]"))))
        signature = [(end.name, end.type, len(end.shape)) for end in (*session.get_inputs(), *session.get_outputs())]
    except Exception as error:  # hostile bytes raise anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: not an ONNX file of fer_lightning.export, or damaged ({reason[:200]})") from error
    expected = [(FACES, "tensor(uint8)", 3 if form.channels == 1 else 4), (PROBABILITIES, "tensor(float)", 2)]
    if signature != expected or form.side < 1 or names != EXPRESSIONS or not isinstance(card, dict):
        raise InputError(f"{path}: not an ONNX file of fer_lightning.export (it has other inputs, outputs or names)")
    return OnnxNetwork(session, names, card, form)


def write_onnx(path: Path, trained: TrainedNetwork, about: Mapping[str, Any], probes: list[np.ndarray]) -> float:
    """Write a network as an ONNX file, once it gives torch's probabilities; returns their largest difference.

    about: as in `write_weights`. probes: faces to compare on, uint8 arrays of the network's form. Raises InputError
    where the file exists or cannot be written, packages are missing, or the difference is above TOLERANCE; then no file
    is kept.
    """
    if path.exists():
        raise InputError(f"{path}: it exists; name another file, or remove it")
    whole = AnySize(trained.network).eval()
    content = _graph(path, whole, trained, about)
    found, difference = _open(content, path, threads=1), 0.0
    for faces in probes:
        with torch.inference_mode():
            expected = whole(torch.from_numpy(faces)).numpy()
        difference = float(np.maximum(difference, np.abs(found.probabilities(faces) - expected).max()))  # NaN stays
    if not difference <= TOLERANCE:
        raise InputError(
            f"{path}: not written: its probabilities would differ from torch's by {difference:.1e}, more than "
            f"{TOLERANCE:.0e}"
        )
    write_atomic(path, content)
    return difference


def _graph(path: Path, whole: AnySize, trained: TrainedNetwork, about: Mapping[str, Any]) -> bytes:
    """The bytes of the ONNX file, accepted by onnx's own checker."""
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"{path}: writing ONNX needs onnx, onnxscript and onnxruntime: {NEEDED}") from error
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of operators of torchvision
    sizes = {axis: torch.export.Dim(name) for axis, name in enumerate(("faces", "height", "width"))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        program = torch.onnx.export(
            whole,
            (torch.zeros(2, 50, 61, *(3,) * (whole.form.channels == 3), dtype=torch.uint8),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[FACES],
            output_names=[PROBABILITIES],
            dynamic_shapes=(sizes,),
            optimize=False,  # onnxscript takes additions below 1e-8 for none, and HOG has one of 1e-10
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")  # lines of this machine's source files
        part.ClearField("doc_string")
    model.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    weights = hashlib.sha256(b"".join(value.numpy().tobytes() for value in trained.network.state_dict().values()))
    card = card_content(trained, weights.hexdigest(), {"opset": OPSET, **about})
    about_file = {"names": EXPRESSIONS, "card": card, "form": whole.form}
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in about_file.items()})
    model.producer_name, model.producer_version = "fer_lightning", str(about.get("fer_lightning", ""))
    model.graph.name = trained.model.name
    kind = "Grey faces (N, H, W)" if whole.form.channels == 1 else "Faces in colour (N, H, W, 3), RGB"
    model.doc_string = f"{kind}, uint8, of any size to the probabilities of the expressions in `names`."
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()
