"""What is drawn once, at the end of training: dreams of each emotion, and the map of the last hidden layer."""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from fer_lightning.callbacks.board import board
from fer_lightning.callbacks.drawing import val_faces
from fer_lightning.classifiers import ExpressionClassifier
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.visualize.activations import last_hidden, one_face_each
from fer_lightning.visualize.deepdream import CERTAIN, dream, dream_picture, towards_emotion
from fer_lightning.visualize.sheet import grey


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Batch normalisation and dropout as in evaluation; each module goes back to what it was."""
    before = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


class DrawDreams(Callback):
    """One real validation face dreamed towards each emotion as `deepdream/<emotion>`: face, dream and the change.

    The face is a neutral one, where there is one. Hybrid and HOG networks dream through their HOG too. The tensor
    `deepdream_probabilities` (2, emotions) holds each target's probability for the face and for the dream.
    """

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        writer = board(trainer)
        if writer is None:
            return
        assert isinstance(pl_module, ExpressionClassifier)
        images, labels = val_faces(trainer)
        chosen = one_face_each(images, labels, len(EXPRESSIONS))
        if not len(chosen):
            return
        faces = images[chosen[-1]].float().expand(len(EXPRESSIONS), -1, -1, -1)
        targets = torch.arange(len(EXPRESSIONS), device=faces.device)
        with evaluating(pl_module), torch.enable_grad():
            dreams = dream(faces, towards_emotion(pl_module.classify, targets), least=CERTAIN)
            answers = torch.stack([pl_module.classify(pictures).float().softmax(dim=1) for pictures in (faces, dreams)])
        reached = answers.detach().diagonal(dim1=1, dim2=2).cpu()
        writer.add_tensor("deepdream_probabilities", reached, trainer.current_epoch)
        for name, face, dreamed in zip(EXPRESSIONS, faces, dreams, strict=True):
            writer.add_image(f"deepdream/{name}", dream_picture(face, dreamed), trainer.current_epoch)


class DrawEmbedding(Callback):
    """The last hidden layer for the first `faces` validation faces, with thumbnails, for TensorBoard's projector."""

    def __init__(self, faces: int = 300):
        self.faces = faces

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        writer = board(trainer)
        if writer is None:
            return
        assert isinstance(pl_module, ExpressionClassifier)
        images, labels = (values[: self.faces] for values in val_faces(trainer))
        with evaluating(pl_module):
            hidden, logits = last_hidden(pl_module.network, pl_module.classify, images)
        seen = logits.argmax(dim=1).tolist()
        words = [
            [EXPRESSIONS[label], EXPRESSIONS[answer], "right" if label == answer else "wrong"]
            for label, answer in zip(labels.tolist(), seen, strict=True)
        ]
        writer.add_embedding(
            hidden.cpu(),
            metadata=words,
            metadata_header=["label", "seen", "answer"],
            label_img=grey(images),
            global_step=trainer.current_epoch,
            tag="last_hidden",
        )
