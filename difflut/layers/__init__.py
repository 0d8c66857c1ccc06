"""Layers: wiring plus a bank of nodes, convolutions made of them, pooling."""

from difflut.layers.base_layer import BaseLUTLayer
from difflut.layers.bit_planes import BitPlanes
from difflut.layers.convolution_config import ConvolutionConfig
from difflut.layers.convolutional_layer import ConvolutionalLayer
from difflut.layers.feature_groups_layer import FeatureGroupsLayer
from difflut.layers.layer_config import LayerConfig
from difflut.layers.learnable_layer import LearnableLayer
from difflut.layers.lut_stage import LutStage, TableBank, WiredBank
from difflut.layers.or_pool import OrPool2d
from difflut.layers.random_layer import RandomLayer

__all__ = [
    "BaseLUTLayer",
    "BitPlanes",
    "ConvolutionConfig",
    "ConvolutionalLayer",
    "FeatureGroupsLayer",
    "LayerConfig",
    "LearnableLayer",
    "LutStage",
    "OrPool2d",
    "RandomLayer",
    "TableBank",
    "WiredBank",
]
