"""Layer whose nodes look at one group of neighbouring inputs each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from difflut.layers.base_layer import (
    DEFAULT_INPUT_SIZE,
    DEFAULT_NODE_TYPE,
    DEFAULT_OUTPUT_SIZE,
    DEFAULT_SEED,
    BaseLUTLayer,
)
from difflut.layers.layer_config import LayerConfig
from difflut.nodes.base_node import LutNode
from difflut.nodes.node_config import NodeConfig
from difflut.registry import register_layer


@register_layer("feature_groups")  # users know "feature_wise_groups" as a layer that they write themselves
class FeatureGroupsLayer(BaseLUTLayer):
    """Each node reads one group of neighbouring inputs.

    The inputs are divided into groups of neighbours; node i reads group i % num_groups. Group sizes differ by one at
    most, and no input is left out. The nodes of a group take its inputs in turns, `n` at a time. A group of fewer than
    `n` inputs is read over again, which gives a node nothing more to tell apart. The wiring does not depend on the
    seed.

    Arguments that are not listed are those of `BaseLUTLayer`.

    Parameters
    ----------
    num_groups : number of groups, at most `input_size`; if not given, as many as have `n` inputs, at least one. With
        the bits of one feature next to each other, ``num_groups=features`` makes every group a feature.
    """

    def __init__(
        self,
        input_size: int = DEFAULT_INPUT_SIZE,
        output_size: int = DEFAULT_OUTPUT_SIZE,
        node_type: str | type[LutNode] = DEFAULT_NODE_TYPE,
        n: int | None = None,
        node_kwargs: dict[str, Any] | NodeConfig | None = None,
        seed: int = DEFAULT_SEED,
        *,
        num_groups: int | None = None,
        layer_config: LayerConfig | None = None,
    ) -> None:
        self._wanted_groups = num_groups
        super().__init__(input_size, output_size, node_type, n, node_kwargs, seed, layer_config=layer_config)

    def create_wiring(self, generator: torch.Generator) -> None:
        self.num_groups = self._count_groups(self._wanted_groups)
        self.register_buffer("mapping_indices", wire_groups(self.input_size, self.output_size, self.n, self.num_groups))

    def _count_groups(self, num_groups: int | None) -> int:
        if num_groups is None:
            return max(1, self.input_size // self.n)
        if type(num_groups) is not int or not 1 <= num_groups <= self.input_size:
            raise ValueError(
                f"FeatureGroupsLayer: num_groups is {num_groups!r}; "
                f"it must be an integer from 1 to input_size, which is {self.input_size}."
            )
        return num_groups


def wire_groups(inputs: int, rows: int, width: int, groups: int) -> Tensor:
    """Return int64 (rows, width): row i takes the next `width` inputs of group i % groups, round and round."""
    edges = torch.arange(groups + 1) * inputs // groups
    row = torch.arange(rows)
    start, size = edges[row % groups], edges.diff()[row % groups]
    offset = (row // groups * width).unsqueeze(1) + torch.arange(width)
    return start.unsqueeze(1) + offset % size.unsqueeze(1)
