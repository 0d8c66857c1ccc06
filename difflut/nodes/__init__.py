"""Node families: each module holds a whole bank of nodes of one kind."""

from difflut.nodes.base_node import LutNode
from difflut.nodes.difflogic_node import DiffLogicNode
from difflut.nodes.dwn_node import DWNNode
from difflut.nodes.dwn_stable_node import DWNStableNode
from difflut.nodes.fourier_node import FourierNode
from difflut.nodes.hybrid_node import HybridNode
from difflut.nodes.linear_lut_node import LinearLUTNode
from difflut.nodes.neurallut_node import NeuralLUTNode
from difflut.nodes.node_config import NodeConfig
from difflut.nodes.polylut_node import PolyLUTNode
from difflut.nodes.probabilistic_node import ProbabilisticNode
from difflut.nodes.warp_node import WARPNode

__all__ = [
    "DWNNode",
    "DWNStableNode",
    "DiffLogicNode",
    "FourierNode",
    "HybridNode",
    "LinearLUTNode",
    "LutNode",
    "NeuralLUTNode",
    "NodeConfig",
    "PolyLUTNode",
    "ProbabilisticNode",
    "WARPNode",
]
