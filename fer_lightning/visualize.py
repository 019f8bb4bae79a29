"""Figures of a trained network: filters, activation maps, DeepDream, saliency, and mistakes on the validation faces.

python -m fer_lightning.visualize checkpoint=RUN/checkpoints/best.ckpt
"""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from fer_lightning.cli import Invocation, hydra_command
from fer_lightning.errors import InputError
from fer_lightning.settings import DataPlaces, VisualizeSettings
from fer_lightning.weights import weights_path

if TYPE_CHECKING:
    from torch import Tensor

    from fer_lightning.networks.weight_files import TrainedNetwork


def val_faces(trained: "TrainedNetwork", settings: VisualizeSettings) -> "tuple[Tensor, Tensor]":
    """Validation faces and labels (N,) of the named data, or of the data of the network's training.

    Faces are (N, C, H, H), uint8, in the form that the network was trained on.
    """
    import torch

    from fer_lightning.data.faces import VAL
    from fer_lightning.data.sources import open_faces
    from fer_lightning.data.tensors import picture_tensor

    data = settings.data
    if isinstance(data, DataPlaces):
        if trained.data is None:
            raise InputError(
                f"{settings.checkpoint} does not say what it was trained with; name the data, as in data=synthetic"
            )
        data = trained.data.model_copy(update=data.model_dump(exclude_none=True))
    channels, size = trained.network.form
    faces = open_faces(data.model_copy(update={"channels": channels, "size": size}))
    rows = faces.rows(VAL)[: settings.images]
    if not len(rows):
        raise InputError(f"data.path={data.path}: there is no validation face in it")
    return picture_tensor(faces.images[rows]), torch.tensor(faces.labels[rows]).long()


@hydra_command("visualize", VisualizeSettings)
def main(settings: VisualizeSettings, invocation: Invocation) -> None:
    """Draw every figure into `pictures` of the checkpoint's run folder, or into the chosen folder."""
    from fer_lightning.evaluation.inference import predict_probabilities
    from fer_lightning.evaluation.metrics import calibration
    from fer_lightning.figures.activations import conv_layers, require_layer
    from fer_lightning.figures.gallery import draw_gallery
    from fer_lightning.figures.sheets import png
    from fer_lightning.files import write_atomic
    from fer_lightning.networks.weight_files import load_network

    console, path = Console(highlight=False), weights_path(settings.checkpoint)
    trained = load_network(path)
    network, name = trained.network, trained.model.name
    if conv_layers(network) or settings.layer is not None or settings.channel is not None:
        require_layer(network, settings.layer, settings.channel)
    else:
        console.print(f"{name} has no conv layers: no filters, activation maps or Grad-CAM are drawn.")
    faces, labels = val_faces(trained, settings)
    probabilities = predict_probabilities([network], faces)[0]
    calibrated = calibration(probabilities, labels)
    run = path.parent.parent if path.parent.name == "checkpoints" else Path("runs") / path.stem
    folder = invocation.folder if invocation.chosen else run / "pictures"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: the pictures cannot be written ({error.strerror or error})") from error
    for file, picture in draw_gallery(network, name, faces, labels, probabilities, calibrated, settings):
        write_atomic(folder / f"{file}.png", png(picture))
        console.print(f"  {folder / file}.png", soft_wrap=True)


if __name__ == "__main__":
    main()
