"""Layers: wiring plus a bank of nodes."""

from difflut.layers.base_layer import BaseLUTLayer
from difflut.layers.layer_config import LayerConfig
from difflut.layers.learnable_layer import LearnableLayer
from difflut.layers.random_layer import RandomLayer

__all__ = ["BaseLUTLayer", "LayerConfig", "LearnableLayer", "RandomLayer"]
