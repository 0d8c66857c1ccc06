"""Our own estimate of area and clock frequency per family of devices, from the graph alone, in milliseconds.

LUTs are a sum over the operations of a part, each kind with a coefficient per family. The clock period is a constant,
plus a delay per level of logic on the deepest path between registers, plus one that grows with the size of the network,
for the wires. ``benchmarks/cost_model.py`` fits the coefficients to what the tools found for generated networks, and
publishes how far estimates are from the tools on networks that were not used for it. Estimates have fields of their own
everywhere and never stand in for a tool's result.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from difflut_compiler.graph import LutGraph, Node
from difflut_compiler.ops import Add, Compare, Greater, Input, Lut, Mux, PopCount, Register
from difflut_compiler.synth.families import FAMILIES

MODELS = Path(__file__).with_name("cost_models.json")
LARGEST_LUT = 6
"""LUTs of more inputs are counted as the LUTs of six inputs that they are made of."""


@dataclass(frozen=True)
class Quantities:
    """What the estimates are made from: amounts of each kind of operation by layer, and the depth of the logic.

    ``depth`` is the number of LUT levels on the deepest path between registers, on LUTs of the family's size.
    """

    by_part: Mapping[str, Mapping[str, int]]
    depth: float

    @property
    def luts(self) -> int:
        """LUTs of the network, of any number of inputs: its size as far as wires are concerned."""
        return sum(n for part in self.by_part.values() for kind, n in part.items() if kind.startswith("lut"))


def measure_quantities(graph: LutGraph, lut_inputs: int) -> Quantities:
    """Take the quantities of a scheduled graph, for LUTs of ``lut_inputs`` inputs."""
    by_part: dict[str, Counter[str]] = {}
    depth: dict[int, float] = {}
    for net in graph.order():
        node = graph.node(net)
        kind, amount = _amount(graph, node, lut_inputs)
        if amount:
            by_part.setdefault(node.origin.layer, Counter())[kind] += amount
        before = max((depth[operand] for operand in node.operands), default=0.0)
        depth[net] = 0.0 if isinstance(node.op, Register) else before + _levels(graph, node, lut_inputs)
    before_registers = [depth[graph.node(net).operands[0]] for net in graph if isinstance(graph.node(net).op, Register)]
    at_outputs = [depth[net] for net in graph.outputs()]
    return Quantities(
        {part: dict(sorted(counts.items())) for part, counts in by_part.items()},
        round(max(before_registers + at_outputs), 3),
    )


def _amount(graph: LutGraph, node: Node, lut_inputs: int) -> tuple[str, int]:
    """The kind of quantity that a node adds to, and how much."""
    match node.op:
        case Compare(threshold):
            bits = _bits_compared(graph, node, threshold)
            return "compare", math.ceil((bits - 1) / (lut_inputs - 1))
        case Lut(fan_in):
            return f"lut{min(fan_in, LARGEST_LUT)}", node.op.lut6_cost(()) if fan_in > LARGEST_LUT else 1
        case PopCount():
            return f"popcount{len(node.operands)}", 1
        case Add(bits):
            return "add", bits
        case Greater():
            return "greater", max(graph.node(operand).width for operand in node.operands)
        case Mux():
            return "mux", node.width
    return node.op.kind, 0


def _bits_compared(graph: LutGraph, node: Node, threshold: int) -> int:
    """Bits of the word that a comparison with a constant depends on: those from the threshold's lowest one upwards."""
    word = graph.node(node.operands[0]).op
    assert isinstance(word, Input)
    distance = threshold - word.min_value
    return word.bits - ((distance & -distance).bit_length() - 1)


def _levels(graph: LutGraph, node: Node, lut_inputs: int) -> float:
    """Levels of LUTs that a signal passes in a node."""

    def tree(inputs: int) -> int:
        return max(1, math.ceil(math.log(inputs, lut_inputs))) if inputs > 1 else 0

    match node.op:
        case Compare(threshold):
            return tree(_bits_compared(graph, node, threshold))
        case Lut(fan_in):
            return 1 + max(0, fan_in - lut_inputs) / 2
        case PopCount():
            return 1 + max(0, len(node.operands) - lut_inputs) / 2
        case Add(bits):
            return tree(2 * bits)
        case Greater():
            return tree(2 * max(graph.node(operand).width for operand in node.operands))
        case Mux():
            return 1
    return 0


@dataclass(frozen=True)
class CostModel:
    """The coefficients of one family. ``period_ns`` are (constant, per level, per doubling of the LUTs), if known."""

    luts: Mapping[str, float]
    period_ns: tuple[float, float, float] | None

    def estimate(self, quantities: Quantities) -> Estimate:
        by_part = {
            part: round(sum(self.luts.get(kind, 0.0) * amount for kind, amount in counts.items()))
            for part, counts in quantities.by_part.items()
        }
        if self.period_ns is None:
            return Estimate(by_part, None)
        constant, per_level, per_doubling = self.period_ns
        period = constant + per_level * quantities.depth + per_doubling * math.log2(1 + quantities.luts)
        return Estimate(by_part, round(1000 / period, 1))


@dataclass(frozen=True)
class Estimate:
    """An estimate, never a tool's result. ``estimated_fmax_mhz`` is None where no free tool times the family."""

    estimated_luts_by_part: Mapping[str, int]
    estimated_fmax_mhz: float | None

    @property
    def estimated_luts(self) -> int:
        return sum(self.estimated_luts_by_part.values())


@cache
def cost_models() -> dict[str, CostModel]:
    """The calibrated models by family; families that were not calibrated have none."""
    data = json.loads(MODELS.read_text())
    return {
        family: CostModel(one["luts"], tuple(one["period_ns"]) if one["period_ns"] else None)
        for family, one in data.items()
    }


def models_to_json(models: Mapping[str, CostModel]) -> str:
    return json.dumps({family: asdict(model) for family, model in models.items()}, indent=2) + "\n"


def estimate_all(graph: LutGraph) -> dict[str, Estimate]:
    """Estimates of a scheduled graph for every calibrated family."""
    return {
        family: model.estimate(measure_quantities(graph, FAMILIES[family].lut_inputs))
        for family, model in cost_models().items()
    }
