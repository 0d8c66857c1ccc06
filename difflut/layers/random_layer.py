"""Layer with fixed random wiring."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from difflut.layers.base_layer import DEFAULT_SEED, BaseLUTLayer
from difflut.layers.layer_config import LayerConfig
from difflut.layers.wiring import deal_groups, draw_covering_rows, draw_distinct_rows, draw_grouped_rows, list_groups
from difflut.nodes.base_node import LutNode
from difflut.nodes.node_config import NodeConfig
from difflut.registry import register_layer


@register_layer("random")
class RandomLayer(BaseLUTLayer):
    """Pins are wired at random once, evenly over the inputs.

    Wiring as in `BaseLUTLayer`.

    Arguments that are not listed are those of `BaseLUTLayer`.

    Parameters
    ----------
    ensure_full_input_coverage : if false, each node draws its inputs on its own, so that inputs are used more or less
        often, and some perhaps not at all. The pins of a node differ nevertheless, as long as the inputs suffice.
    input_groups : the inputs are that many equal groups of consecutive ones, or the groups themselves, int64 (groups,
        inputs per group), which may overlap. All pins of a node read one group; nodes are dealt to groups evenly.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        node_type: str | type[LutNode],
        n: int | None = None,
        node_kwargs: dict[str, Any] | NodeConfig | None = None,
        seed: int = DEFAULT_SEED,
        *,
        ensure_full_input_coverage: bool = True,
        input_groups: int | Tensor = 1,
        layer_config: LayerConfig | None = None,
    ) -> None:
        if type(ensure_full_input_coverage) is not bool:
            raise TypeError("RandomLayer: ensure_full_input_coverage must be true or false.")
        self._draw_rows = draw_covering_rows if ensure_full_input_coverage else draw_distinct_rows
        self._input_groups = input_groups
        super().__init__(input_size, output_size, node_type, n, node_kwargs, seed, layer_config=layer_config)

    def create_wiring(self, generator: torch.Generator) -> None:
        groups = list_groups(self.input_size, self._input_groups)
        group_of_node = deal_groups(len(groups), self.output_size, generator)
        wiring = draw_grouped_rows(self._draw_rows, group_of_node, groups, self.n, generator)
        self.register_buffer("mapping_indices", wiring)
