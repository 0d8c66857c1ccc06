"""Layer that learns which input each pin reads."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from difflut.layers.base_layer import DEFAULT_SEED, BaseLUTLayer
from difflut.layers.layer_config import LayerConfig
from difflut.layers.wiring import deal_groups, draw_covering_rows, draw_grouped_rows, list_groups
from difflut.nodes.base_node import LutNode
from difflut.nodes.node_config import NodeConfig
from difflut.registry import register_layer
from difflut.rules.annealing import anneal_tau
from difflut.rules.pins import Routing, WiredPins
from difflut.rules.routing import choose

MAX_ROUTING_LOGITS = 2**28


@register_layer("learnable")
class LearnableLayer(BaseLUTLayer):
    """Each pin learns which of a few candidate inputs it reads.

    It reads the best one, in training as in hardware. Buffer ``candidates`` and parameter ``routing_logits``, both
    (output_size, n, num_candidates). A pin reads the candidate with the largest logit (the first one of equals); the
    logits learn as if the pin were the average of its candidates weighted by softmax(logits / routing_tau)
    (straight-through). Learnable mapping as in Bacellar et al., Differentiable Weightless Neural Networks (ICML 2024),
    restricted to candidates to bound its memory.

    Arguments that are not listed are those of `BaseLUTLayer`.

    Parameters
    ----------
    num_candidates : inputs each pin may choose from, capped at the inputs there are. The pins of a node have no
        candidate in common if there are ``n * num_candidates`` inputs to choose from.
    input_groups : the inputs are that many equal groups of consecutive ones, or the groups themselves, int64 (groups,
        inputs per group), which may overlap. All candidates of a node are in one group; nodes are dealt to groups
        evenly.
    routing_tau : temperature of the softmax that the logits' gradient is taken from. A low one confines learning to
        the candidates that are about as good as the best.
    tau_min, tau_decay_iters : how `update_tau` lowers it; 0.1 and 1000 if not given. If one of them is given, `train`
        calls it before every step.
    """

    runtime_keys: ClassVar[tuple[str, ...]] = ("routing_tau",)
    candidates: Tensor

    def __init__(
        self,
        input_size: int,
        output_size: int,
        node_type: str | type[LutNode],
        n: int | None = None,
        node_kwargs: dict[str, Any] | NodeConfig | None = None,
        seed: int = DEFAULT_SEED,
        *,
        num_candidates: int = 16,
        input_groups: int | Tensor = 1,
        routing_tau: float = 1.0,
        tau_min: float | None = None,
        tau_decay_iters: int | None = None,
        layer_config: LayerConfig | None = None,
    ) -> None:
        if type(num_candidates) is not int or num_candidates < 1:
            raise ValueError(f"LearnableLayer: num_candidates is {num_candidates!r}; it must be a positive integer.")
        cools = tau_min is not None or tau_decay_iters is not None
        tau_min = 0.1 if tau_min is None else tau_min
        tau_decay_iters = 1000 if tau_decay_iters is None else tau_decay_iters
        for name, tau in {"routing_tau": routing_tau, "tau_min": tau_min}.items():
            if type(tau) not in (int, float) or not 0 < tau < math.inf:
                raise ValueError(f"LearnableLayer: {name} is {tau!r}; it must be a number above 0.")
        if type(tau_decay_iters) is not int or tau_decay_iters < 1:
            raise ValueError(f"LearnableLayer: tau_decay_iters is {tau_decay_iters!r}; it must be a positive integer.")
        self._num_candidates = num_candidates
        self._input_groups = input_groups
        super().__init__(input_size, output_size, node_type, n, node_kwargs, seed, layer_config=layer_config)
        self.routing_tau = routing_tau
        self.tau_min, self.tau_decay_iters, self.cools_in_training = tau_min, tau_decay_iters, cools

    @property
    def routing_tau(self) -> float:
        """The temperature of today. Setting it also sets the one that `update_tau` starts from."""
        return self._routing_tau

    @routing_tau.setter
    def routing_tau(self, tau: float) -> None:
        self._routing_tau = self.tau_start = tau

    def update_tau(self, iteration: int) -> None:
        """Set ``routing_tau`` to max(tau_start * 10 ** (-iteration / tau_decay_iters), tau_min)."""
        self._routing_tau = anneal_tau(self.tau_start, self.tau_min, self.tau_decay_iters, iteration)

    @torch.no_grad()
    def redraw_candidates(
        self,
        share: float = 0.25,
        generator: torch.Generator | None = None,
        *,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        """Replace the candidates of every pin that have the smallest logits by inputs drawn at random.

        Called between training steps, now and then, it lets a pin search all inputs although it compares only a few at
        a time. New candidates start at the median of the pin's logits; one of them may be a candidate already.

        Parameters
        ----------
        share : of the candidates, rounded down, at least one; what a pin reads now is not replaced.
        generator : of the draw, on the CPU; torch's own if not given.
        optimizer : what it keeps of the logits of replaced candidates, such as momentum, becomes 0. Otherwise new
            candidates inherit the fall of those before them.

        Raises
        ------
        ValueError : `share` is not between 0 and 1.
        """
        if not 0 < share < 1:
            raise ValueError(f"LearnableLayer: share is {share!r}; it must be between 0 and 1.")
        logits = self.routing_logits.data
        count = min(max(1, int(share * logits.shape[2])), logits.shape[2] - 1)
        worst = logits.topk(count, dim=2, largest=False).indices
        places = torch.randint(self._groups.shape[1], worst.shape, generator=generator)
        drawn = self._groups[self._group_of_node.view(-1, 1, 1), places]
        self.candidates.scatter_(2, worst, drawn.to(worst.device))
        logits.scatter_(2, worst, logits.median(2, keepdim=True).values.expand(worst.shape))
        state = optimizer.state.get(self.routing_logits, {}) if optimizer is not None else {}
        for kept in state.values():
            if isinstance(kept, Tensor) and kept.shape == logits.shape:
                kept.scatter_(2, worst, 0)

    def create_wiring(self, generator: torch.Generator) -> None:
        self._groups = groups = list_groups(self.input_size, self._input_groups)
        self._group_of_node = group_of_node = deal_groups(len(groups), self.output_size, generator)
        group_size = groups.shape[1]
        count = min(self._num_candidates, group_size)
        shape = (self.output_size, self.n, count)
        if self.output_size * self.n * count > MAX_ROUTING_LOGITS:
            raise ValueError(f"LearnableLayer: {shape} candidates exceed {MAX_ROUTING_LOGITS} routing logits.")
        # One row of candidates for a whole node if the group has that many, else one for each of its pins.
        rows_per_node = 1 if self.n * count <= group_size else self.n
        group_of_row, width = group_of_node.repeat_interleave(rows_per_node), self.n * count // rows_per_node
        rows = draw_grouped_rows(draw_covering_rows, group_of_row, groups, width, generator)
        self.register_buffer("candidates", rows.view(shape))
        # Near zero: every candidate is about equally likely, and which one starts is random.
        self.routing_logits = nn.Parameter(0.01 * torch.randn(shape, generator=generator))

    def mapping(self) -> Tensor:
        return choose(self.routing_logits, self.candidates)

    def select_pins(self, features: Tensor) -> WiredPins:
        routing = Routing(self.candidates, self.routing_logits, self.routing_tau) if self.training else None
        return WiredPins(features, self.mapping(), routing)
