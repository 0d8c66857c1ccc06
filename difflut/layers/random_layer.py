"""Layer with fixed random wiring."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from difflut.layers.base_layer import BaseLUTLayer
from difflut.layers.layer_config import LayerConfig
from difflut.layers.wiring import deal_groups, draw_covering_rows, draw_distinct_rows, draw_grouped_rows
from difflut.nodes.base_node import LutNode
from difflut.registry import register_layer


@register_layer("random")
class RandomLayer(BaseLUTLayer):
    """Pins are wired at random once; the wiring is the buffer ``mapping_indices`` (output_size, n).

    Parameters
    ----------
    ensure_full_input_coverage : if true, every input is used equally often, give or take one; if false, each node
        draws its inputs on its own. Either way the pins of a node differ as long as the inputs suffice.
    input_groups : the inputs are that many equal groups of consecutive ones, and all pins of a node read one group;
        the nodes are dealt to the groups evenly.
    All others as in `BaseLUTLayer`.
    """

    mapping_indices: Tensor

    def __init__(
        self,
        input_size: int,
        output_size: int,
        node_type: str | type[LutNode],
        n: int | None = None,
        node_kwargs: dict[str, Any] | None = None,
        seed: int = 42,
        *,
        ensure_full_input_coverage: bool = True,
        input_groups: int = 1,
        layer_config: LayerConfig | None = None,
        regularizers: Any = None,
    ) -> None:
        if type(ensure_full_input_coverage) is not bool:
            raise TypeError("RandomLayer: ensure_full_input_coverage must be true or false.")
        self._draw_rows = draw_covering_rows if ensure_full_input_coverage else draw_distinct_rows
        self._input_groups = input_groups
        super().__init__(
            input_size,
            output_size,
            node_type,
            n,
            node_kwargs,
            seed,
            layer_config=layer_config,
            regularizers=regularizers,
        )

    def create_wiring(self, generator: torch.Generator) -> None:
        groups = deal_groups(self.input_size, self._input_groups, self.output_size, generator)
        group_size = self.input_size // self._input_groups
        wiring = draw_grouped_rows(self._draw_rows, groups, group_size, self.n, generator)
        self.register_buffer("mapping_indices", wiring)

    def mapping(self) -> Tensor:
        return self.mapping_indices
