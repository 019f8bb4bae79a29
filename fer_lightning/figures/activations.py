"""Activation maps of the conv layers: recorded, measured (sparsity, locality) and drawn."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile

import torch
from torch import Tensor, nn

from fer_lightning.errors import InputError, near_misses
from fer_lightning.figures.sheets import apply_colormap, contact_sheet, faces_to_rgb


def conv_layers(network: nn.Module) -> dict[str, nn.Module]:
    """All conv layers by name, in order, with the module whose output becomes the activation map by a ReLU.

    That is the convolution itself, or what directly follows it: batch normalisation, and the sum with a shortcut (an
    Identity of the network's). Names are the modules' own, shortened: `features.conv1.conv` is `conv1`.
    """
    return {name: last for name, (_, last) in _convolutions(network).items()}


def _convolutions(network: nn.Module) -> dict[str, tuple[nn.Conv2d, nn.Module]]:
    layers: dict[str, tuple[nn.Conv2d, nn.Module]] = {}
    for parent_name, parent in network.named_modules():
        children = list(parent.named_children())
        for number, (name, child) in enumerate(children, start=1):
            if isinstance(child, nn.Conv2d):
                full = f"{parent_name}.{name}".strip(".").removeprefix("features.").removesuffix(".conv")
                following = (after for _, after in children[number:])
                *_, last = child, *takewhile(lambda after: isinstance(after, nn.BatchNorm2d | nn.Identity), following)
                layers[full] = child, last
    return layers


def require_layer(network: nn.Module, name: str | None = None, channel: int | None = None) -> str:
    """Name of a conv layer, of the last one for None.

    Raises InputError, with the valid names or numbers, for a layer, or a channel (filter) of it, that does not exist,
    and for a channel without a layer.
    """
    layers = _convolutions(network)
    if channel is not None and name is None:
        raise InputError(f"channel={channel}: of which layer? Name one, as in layer=conv1 channel={channel}")
    if not layers:
        raise InputError(f"layer={name}: this network has no conv layers")
    if name is not None and name not in layers:
        raise InputError(f"layer={name}: no such conv layer.{near_misses(name, layers)} Layers: {', '.join(layers)}")
    name = name or list(layers)[-1]
    filters = layers[name][0].out_channels
    if channel is not None and not 0 <= channel < filters:
        raise InputError(f"channel={channel}: layer {name} has the channels 0 to {filters - 1}")
    return name


@contextmanager
def record_outputs(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record the outputs of conv layers in the latest forward pass, before the ReLU: (B, filters, H, W) by name.

    The hooks are removed at the end, also after an exception.
    """
    outputs: dict[str, Tensor] = {}
    layers: dict[nn.Module, str] = {module: name for name, module in conv_layers(network).items() if name in names}

    def record(module: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs[layers[module]] = output

    hooks = [module.register_forward_hook(record) for module in layers]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def activation_maps(network: nn.Module, faces: Tensor) -> dict[str, Tensor]:
    """Activation maps (B, filters, H, W) of every conv layer by name, for faces (B, C, H, H), 0 to 255."""
    with record_outputs(network, list(conv_layers(network))) as outputs:
        network(faces)
    return {name: maps.float().relu() for name, maps in outputs.items()}


def sparsity(maps: Tensor) -> float:
    """Share of activations that are zero."""
    return float((maps <= 0).float().mean())


def locality(maps: Tensor) -> float:
    """Hoyer's sparseness of a map over space, mean of the maps that are not all zero (Hoyer, JMLR 5, 2004, sec. 3.1).

    maps: (B, filters, H, W) of 0 or more. With n = H * W it is (sqrt(n) - L1 / L2) / (sqrt(n) - 1) for each map: 0 when
    all places are equal, 1 when a single one is not zero, whatever the scale. NaN when all maps are zero, or n is 1.
    """
    places = maps.float().flatten(2)
    active = places[places.amax(dim=2) > 0]
    root = places.shape[2] ** 0.5
    if not len(active) or root == 1:
        return float("nan")
    ratio = active.sum(dim=1) / active.square().sum(dim=1).sqrt()
    return float(((root - ratio) / (root - 1)).mean())


def sparsity_and_locality(maps: Mapping[str, Tensor]) -> dict[str, float]:
    """`sparsity/<layer>` and `locality/<layer>` of each layer's maps, as TensorBoard names them."""
    measures = {"sparsity": sparsity, "locality": locality}
    return {f"{tag}/{name}": of(layer_maps) for tag, of in measures.items() for name, layer_maps in maps.items()}


def activation_sheet(
    faces: Tensor, maps: Tensor, names: Sequence[str] = (), title: str = "", filters: int = 15, side: int = 96
) -> Tensor:
    """A row for each face: the face, then its maps of the first filters under their numbers; (3, H, W) uint8.

    faces: (B, C, H, H); maps: (B, filters, H, W); names: of the faces; side: of a map in the picture. Black is zero.
    The maps of a filter are scaled by its largest activation over these faces, so that they can be compared.
    """
    maps = maps[:, :filters].detach().float().cpu()
    maps = maps / maps.amax(dim=(0, 2, 3), keepdim=True).clamp_min(1e-12)
    rows = [[*faces_to_rgb(face[None]), *apply_colormap(of_face)] for face, of_face in zip(faces, maps, strict=True)]
    return contact_sheet(rows, names, ["", *map(str, range(maps.shape[1]))], title=title, side=side)


def one_face_each(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Rows of the most typical face of each class that is there: the one most correlated with the class mean.

    images: (N, ...); labels: (N,). The mean is of the contrast-normalised faces. The quarters of a class with the least
    and the most contrast are left out: flat and dark pictures, and those that are nearly black and white.
    """
    pixels = images.flatten(1).float()
    pixels = pixels - pixels.mean(dim=1, keepdim=True)
    contrast = pixels.norm(dim=1)
    pixels = nn.functional.normalize(pixels, dim=1)
    chosen = []
    for number in range(classes):
        rows = (labels == number).nonzero()[:, 0]
        if len(rows):
            own, of_own = pixels[rows], contrast[rows]
            lowest = of_own.quantile(0.25, interpolation="lower")
            highest = of_own.quantile(0.75, interpolation="higher")
            similarity = (own @ own.mean(dim=0)).masked_fill((of_own < lowest) | (of_own > highest), -torch.inf)
            chosen.append(int(rows[similarity.argmax()]))
    return torch.tensor(chosen, dtype=torch.int64)
