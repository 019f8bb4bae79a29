"""What the conv layers answer to a face: their activation maps, how many of them are zero, and how local they are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from fer_lightning.errors import InputError, near_misses
from fer_lightning.figures.sheet import coloured, enlarge, grey, tile

def conv_layers(network: nn.Module) -> dict[str, nn.Module]:
    """All conv layers by name, in order, with the module whose output becomes the activation map by a ReLU.

    That is the batch normalisation that follows the convolution, or the convolution itself where none does. Names are
    the modules' own without what says nothing: `features.conv1.conv` is `conv1`.
    """
    layers: dict[str, nn.Module] = {}
    for parent_name, parent in network.named_modules():
        children = [*parent.named_children(), ("", None)]
        for (name, child), (_, after) in pairwise(children):
            if isinstance(child, nn.Conv2d):
                full = f"{parent_name}.{name}".strip(".").removeprefix("features.").removesuffix(".conv")
                layers[full] = after if isinstance(after, nn.BatchNorm2d) else child
    return layers


def require_layer(network: nn.Module, name: str | None) -> str:
    """The conv layer's name, the last one for None. Raises InputError, with the valid names, where there is no such."""
    layers = list(conv_layers(network))
    if not layers:
        raise InputError(f"layer={name}: this network has no conv layers")
    if name is not None and name not in layers:
        raise InputError(f"layer={name}: no such conv layer.{near_misses(name, layers)} Layers: {', '.join(layers)}")
    return name or layers[-1]


@contextmanager
def recorded(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """While open, what these conv layers gave in the latest forward pass, before the ReLU: (B, filters, H, W) by name.

    The hooks are removed at the end, whatever happens.
    """
    given: dict[str, Tensor] = {}

    def keeper(name: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            given[name] = output

        return keep

    layers = conv_layers(network)
    hooks = [layers[name].register_forward_hook(keeper(name)) for name in names]
    try:
        yield given
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def activation_maps(network: nn.Module, faces: Tensor) -> dict[str, Tensor]:
    """Activation maps (B, filters, H, W) of every conv layer by name, for raw grey faces (B, 1, 48, 48)."""
    with recorded(network, list(conv_layers(network))) as given:
        network(faces)
    return {name: maps.float().relu() for name, maps in given.items()}


def zero_share(maps: Tensor) -> float:
    """Share of activations that are zero: how sparse a layer answers."""
    return float((maps <= 0).float().mean())


def locality(maps: Tensor) -> float:
    """How concentrated in few places the maps are: Hoyer's sparseness over space, mean of those that answer.

    maps: (B, filters, H, W) of 0 or more. With n = H * W places it is (sqrt(n) - L1 / L2) / (sqrt(n) - 1) for each map:
    0 when all places answer alike, 1 when a single one does, whatever the scale (Hoyer, JMLR 5, 2004, sec. 3.1).
    NaN when no map answers, or when a map has one place only.
    """
    places = maps.float().flatten(2)
    answering = places[places.amax(dim=2) > 0]
    root = places.shape[2] ** 0.5
    if not len(answering) or root == 1:
        return float("nan")
    ratio = answering.sum(dim=1) / answering.square().sum(dim=1).sqrt()
    return float(((root - ratio) / (root - 1)).mean())


def activation_rows(faces: Tensor, maps: Tensor, filters: int = 15, side: int = 96) -> list[Tensor]:
    """A row for each face: the face, then its maps of the first filters, (1 + filters, 3, side, side), values 0 to 1.

    faces: (B, 1, 48, 48); maps: (B, filters, H, W). Black is zero. A filter is stretched by its largest activation over
    the faces shown, so its column tells which face it answers to.
    """
    maps = maps[:, :filters].detach().float().cpu()
    maps = maps / maps.amax(dim=(0, 2, 3), keepdim=True).clamp_min(1e-12)
    return [
        torch.cat([enlarge(grey(face[None]), side), enlarge(coloured(of_face), side)])
        for face, of_face in zip(faces, maps, strict=True)
    ]


def activation_sheet(faces: Tensor, maps: Tensor, filters: int = 15) -> Tensor:
    """`activation_rows` below each other as one picture (3, H, W)."""
    rows = activation_rows(faces, maps, filters)
    return tile(torch.cat(rows), columns=len(rows[0]))


@torch.no_grad()
def last_hidden(network: nn.Module, faces: Tensor) -> tuple[Tensor, Tensor]:
    """What the last hidden layer gives for each face, (B, width), and the logits (B, 7).

    The hidden layer is what goes into the network's last linear layer, so every kind of network has one.
    """
    kept: list[Tensor] = []
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    hook = last.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    try:
        logits = [network(chunk) for chunk in faces.split(256)]
    finally:
        hook.remove()
    return torch.cat(kept).float(), torch.cat(logits).float()


def one_face_each(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Row of the most typical face of each class, the one most correlated with its mean; absent classes are left out.

    images: (N, ...); labels: (N,). The mean is of the contrast-normalised faces. Not chosen from are the quarters of
    a class with the least and the most contrast: flat and dark pictures, and those that are nearly black and white.
    """
    pixels = images.flatten(1).float()
    pixels = pixels - pixels.mean(dim=1, keepdim=True)
    contrast = pixels.norm(dim=1)
    pixels = nn.functional.normalize(pixels, dim=1)
    chosen = []
    for number in range(classes):
        rows = (labels == number).nonzero()[:, 0]
        if len(rows):
            own, kept = pixels[rows], contrast[rows]
            clear = kept >= kept.quantile(0.25, interpolation="lower")
            clear &= kept <= kept.quantile(0.75, interpolation="higher")
            chosen.append(int(rows[(own @ own.mean(dim=0)).masked_fill(~clear, -torch.inf).argmax()]))
    return torch.tensor(chosen, dtype=torch.int64)


def sparsity_and_locality(maps: Mapping[str, Tensor]) -> dict[str, float]:
    """`sparsity/<layer>` and `locality/<layer>` of each layer's maps, as TensorBoard names them."""
    measured = {f"sparsity/{name}": zero_share(of_layer) for name, of_layer in maps.items()}
    measured |= {f"locality/{name}": locality(of_layer) for name, of_layer in maps.items()}
    return measured
