"""The networks as plain torch modules, preprocessing inside: grey faces in, logits out. And their files.

May import settings, expressions, errors, files and hog; knows nothing of data, Lightning or training.
"""

from fer_lightning.networks.backbones import BackboneNetwork
from fer_lightning.networks.conv import ConvNetwork, FullyConnectedNetwork
from fer_lightning.networks.expression_network import ExpressionNetwork
from fer_lightning.settings import BackboneModel, ConvModel, InputSettings, ModelSettings


def build_network(model: ModelSettings, inputs: InputSettings) -> ExpressionNetwork:
    """The untrained network of some settings. Raises InputError where its layers leave nothing of the picture."""
    if isinstance(model, ConvModel):
        return ConvNetwork(model, inputs)
    if isinstance(model, BackboneModel):
        return BackboneNetwork(model, inputs)
    return FullyConnectedNetwork(model, inputs)


__all__ = ["ExpressionNetwork", "build_network"]
