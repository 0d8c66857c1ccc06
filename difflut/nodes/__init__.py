"""Node families: each module holds a whole bank of nodes of one kind."""

from difflut.nodes.base_node import LutNode
from difflut.nodes.dwn_node import DWNNode
from difflut.nodes.dwn_stable_node import DWNStableNode
from difflut.nodes.hybrid_node import HybridNode
from difflut.nodes.linear_lut_node import LinearLUTNode
from difflut.nodes.probabilistic_node import ProbabilisticNode

__all__ = ["DWNNode", "DWNStableNode", "HybridNode", "LinearLUTNode", "LutNode", "ProbabilisticNode"]
