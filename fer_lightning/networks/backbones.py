"""AlexNet, VGG-16 and ResNet-18 as torchvision defines them: same layers, same names of parameters, same outputs.

The state dicts that PyTorch publishes load strictly (`pretrained`). Each is written without its last layer, the scores
of ImageNet's 1,000 classes, in whose place the head for expressions stands. `stages` are its layers in groups, from the
first to the last, whose learning rates may differ.
"""

from typing import NamedTuple

from torch import Tensor, nn

from fer_lightning.networks.expression_network import ExpressionNetwork
from fer_lightning.networks.layers import Head
from fer_lightning.networks.preprocessing import Normalization
from fer_lightning.settings import BackboneModel, InputSettings

IMAGENET_PIXELS = Normalization(
    tuple(255 * mean for mean in (0.485, 0.456, 0.406)), tuple(255 * std for std in (0.229, 0.224, 0.225))
)
"""Of red, green and blue, as the published weights were trained with."""


class AlexNet(nn.Module):
    """Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.

    (B, 3, H, W) to (B, 4096).
    """

    def __init__(self, dropout: float = 0.5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
        )

    def stages(self) -> list[list[nn.Module]]:
        return [[layer] for layer in (*self.features, *self.classifier) if isinstance(layer, nn.Conv2d | nn.Linear)]

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return features


class VGG16(nn.Module):
    """Simonyan & Zisserman, ICLR 2015, configuration D. (B, 3, H, W) to (B, 4096)."""

    def __init__(self, dropout: float = 0.5):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)):
            for filters in stage:
                layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
                channels = filters
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def stages(self) -> list[list[nn.Module]]:
        stages: list[list[nn.Module]] = [[]]
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                stages.append([])
            elif isinstance(layer, nn.Conv2d):
                stages[-1].append(layer)
        stages.pop()
        return stages + [[layer] for layer in self.classifier if isinstance(layer, nn.Linear)]

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return features


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut. (B, channels, H, W) to (B, filters, H / stride, W / stride)."""

    def __init__(self, channels: int, filters: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.sum = nn.Identity()
        """Its input is the sum with the shortcut, whose ReLU is the activation map of `conv2`."""
        self.downsample: nn.Sequential | None = None
        if stride > 1 or channels != filters:
            shortcut = nn.Conv2d(channels, filters, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(filters))

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.downsample is None else self.downsample(maps)
        maps = self.relu(self.bn1(self.conv1(maps)))
        merged: Tensor = self.relu(self.sum(self.bn2(self.conv2(maps)) + shortcut))
        return merged


class ResNet18(nn.Module):
    """He et al., CVPR 2016, table 1. (B, 3, H, W) to (B, 512)."""

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        features: Tensor = self.dropout(self.avgpool(maps).flatten(1))
        return features

    def stages(self) -> list[list[nn.Module]]:
        return [[self.conv1, self.bn1], [self.layer1], [self.layer2], [self.layer3], [self.layer4]]


class Backbone(NamedTuple):
    """A published network. build: without its last layer `scores`; width: of what it gives.

    file: of its ImageNet weights on PyTorch's model host, whose name ends with the first digits of the SHA-256.
    """

    build: type[AlexNet | VGG16 | ResNet18]
    scores: str
    width: int
    file: str


BACKBONES = {
    "alexnet": Backbone(AlexNet, "classifier.6", 4096, "alexnet-owt-7be5be79.pth"),
    "vgg16": Backbone(VGG16, "classifier.6", 4096, "vgg16-397923af.pth"),
    "resnet18": Backbone(ResNet18, "fc", 512, "resnet18-f37072fd.pth"),
}


class BackboneNetwork(ExpressionNetwork):
    """A published network, hidden layers where they are asked for, and seven scores.

    Pictures are normalised as ImageNet's, whatever set they are of, and grey ones repeated for its three channels.
    """

    def __init__(self, model: BackboneModel, inputs: InputSettings):
        super().__init__(inputs.model_copy(update={"channels": 3}), with_hog=False, fixed=IMAGENET_PIXELS)
        backbone = BACKBONES[model.kind]
        self.features = backbone.build(model.dropout)
        self.head = Head(backbone.width, model.hidden, model.batch_norm, model.dropout)

    @property
    def stages(self) -> list[list[nn.Module]]:
        return self.features.stages()

    def embed(self, images: Tensor, hog: Tensor | None) -> Tensor:
        return self.head.embed(self.features(images))
