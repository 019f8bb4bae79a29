"""The networks of the paper as torch modules; they know nothing of data, training or configs beyond their own."""

from fer_lightning.networks.conv import ConvNetwork, HybridNetwork
from fer_lightning.networks.fully_connected import FullyConnectedNetwork

__all__ = ["ConvNetwork", "FullyConnectedNetwork", "HybridNetwork"]
