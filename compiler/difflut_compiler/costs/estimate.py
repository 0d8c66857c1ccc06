"""Our own estimate of area and clock frequency per family of devices, from the graph alone, in milliseconds.

LUTs are a sum over the operations of a part, each kind with a coefficient per family. The clock period is a sum over
the slowest path between registers: so much per level of LUTs, more for each input that a LUT has beyond the family's;
so much to enter and leave a carry chain, and for each of its bits; and a level's wires take longer the larger the
network is.

``benchmarks/cost_model.py`` fits the coefficients to what the tools found for generated networks, and publishes how far
estimates are from the tools on networks that were not used for it. Estimates have fields of their own everywhere and
never stand in for a tool's result.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from difflut_compiler.costs.families import FAMILIES, Family
from difflut_compiler.figures import Estimate
from difflut_compiler.graph import LutGraph, Node
from difflut_compiler.ops import Add, Compare, Const, Greater, Input, Lut, Mux, PopCount, Register
from difflut_compiler.statistics import COUNTING_LAYERS

MODELS = Path(__file__).with_name("cost_models.json")
LARGEST_LUT = 6
"""LUTs of more inputs are counted as the LUTs of six inputs that they are made of."""
WIDEST_SMALL_COMPARISON = 4
"""Comparisons of scores of so few bits are a kind each: Yosys makes LUTs of them, or a carry chain, by their width."""

Amounts = Mapping[str, int]
"""How much there is of each kind of thing that has a coefficient."""


def amounts_by_part(graph: LutGraph, lut_inputs: int) -> dict[str, Amounts]:
    """What the LUTs of every layer are estimated from, for LUTs of ``lut_inputs`` inputs.

    LUTs that count bits or compare counts are a kind of their own: cut into smaller LUTs, they need fewer than a
    trained table does.
    """
    parts: dict[str, Counter[str]] = {}
    for net in graph:
        node = graph.node(net)
        kind, amount = _area_amount(graph, node, lut_inputs)
        if isinstance(node.op, Lut) and node.origin.layer in COUNTING_LAYERS:
            kind = kind.replace("lut", "counter")
        if amount:
            parts.setdefault(node.origin.layer, Counter())[kind] += amount
    return {part: dict(sorted(parts[part].items())) for part in graph.layers if part in parts}


def _area_amount(graph: LutGraph, node: Node, lut_inputs: int) -> tuple[str, int]:
    match node.op:
        case Compare():
            return "compare", math.ceil((_bits_compared(graph, node) - 1) / (lut_inputs - 1))
        case Lut(fan_in):
            return f"lut{min(fan_in, LARGEST_LUT)}", node.op.lut6_cost(()) if fan_in > LARGEST_LUT else 1
        case PopCount():
            return f"popcount{len(node.operands)}", 1
        case Add(bits):
            return "add", bits
        case Greater():
            bits = _score_bits(graph, node)
            return (f"greater{bits}", 1) if bits <= WIDEST_SMALL_COMPARISON else ("greater", bits)
        case Mux():
            choices = (graph.node(operand).op for operand in node.operands[1:])
            return "mux", 0 if any(isinstance(choice, Const) for choice in choices) else node.width
    return node.op.kind, 0


def _bits_compared(graph: LutGraph, node: Node) -> int:
    word = graph.node(node.operands[0]).op
    assert isinstance(node.op, Compare)
    assert isinstance(word, Input)
    return node.op.bits_compared(word)


def _score_bits(graph: LutGraph, node: Node) -> int:
    return max(graph.node(operand).width for operand in node.operands)


@dataclass(frozen=True)
class Delays:
    """Nanoseconds: of every path, per level of LUTs, per further input of a LUT, per carry chain and per bit of it; and
    per level for each doubling of the number of LUTs.
    """

    path: float
    level: float
    wide: float
    carry: float
    carry_bits: float
    level_wires: float

    def period_ns(self, path: Amounts, luts: int) -> float:
        level = self.level + self.level_wires * math.log2(1 + luts)
        slow = self.wide * path["wide"] + self.carry * path["carry"] + self.carry_bits * path["carry_bits"]
        return self.path + level * path["level"] + slow


def longest_path(graph: LutGraph, family: Family, delays: Delays) -> Amounts:
    """The slowest path between registers, or through a combinational circuit, as amounts of what takes time on it."""
    luts = count_luts(graph)
    paths: dict[int, Counter[str]] = {}
    ends = []
    for net in graph.order():
        node = graph.node(net)
        before = [paths[operand] for operand in node.operands]
        slowest = max(before, key=lambda path: delays.period_ns(path, luts), default=Counter[str]())
        if isinstance(node.op, Register):
            ends.append(slowest)
            paths[net] = Counter()
        else:
            paths[net] = slowest + _time_amounts(graph, node, family)
    ends += [paths[net] for net in graph.outputs()]
    longest = max(ends, key=lambda path: delays.period_ns(path, luts))
    return {kind: longest[kind] for kind in ("level", "wide", "carry", "carry_bits")}


def timed_families() -> list[str]:
    """The families whose delays are known."""
    return sorted(name for name, model in cost_models().items() if model.delays is not None)


def node_delays(graph: LutGraph, family: str) -> tuple[dict[int, float], float]:
    """Nanoseconds that a signal takes through every node of ``graph``, and those that every path takes besides.

    ``family`` is one of :func:`timed_families`.
    """
    delays = cost_models()[family].delays
    assert delays is not None
    luts = count_luts(graph)
    path = delays.period_ns(Counter(), luts)
    amounts = ((net, _time_amounts(graph, graph.node(net), FAMILIES[family])) for net in graph)
    return {net: delays.period_ns(amount, luts) - path for net, amount in amounts}, path


def count_luts(graph: LutGraph) -> int:
    """LUTs of the network, of any number of inputs: its size as far as wires are concerned."""
    return sum(isinstance(graph.node(net).op, Lut) for net in graph)


def _time_amounts(graph: LutGraph, node: Node, family: Family) -> Counter[str]:
    """What a signal passes in a node."""
    match node.op:
        case Compare():
            return Counter(level=_levels(_bits_compared(graph, node), family))
        case Lut() | PopCount():
            return Counter(level=1, wide=max(0, len(node.operands) - family.lut_inputs))
        case Add(bits):
            return Counter(carry=1, carry_bits=bits)
        case Greater():
            bits = _score_bits(graph, node)
            if bits >= family.shortest_carry_chain:
                return Counter(carry=1, carry_bits=bits)
            return Counter(level=_levels(2 * bits, family))
        case Mux():
            return Counter(level=1)
    return Counter()


def _levels(inputs: int, family: Family) -> int:
    """Levels of a tree of LUTs with so many inputs; a single one is a wire."""
    return math.ceil(math.log(inputs, family.lut_inputs)) if inputs > 1 else 0


@dataclass(frozen=True)
class CostModel:
    """The coefficients of one family: LUTs per amount of a kind, and delays if they are known."""

    luts: Mapping[str, float]
    delays: Delays | None

    def luts_of(self, amounts: Amounts) -> int:
        """LUTs of one part. A kind that was not measured counts as one LUT each; a counter, as a LUT like others."""
        return round(sum(self._luts_each(kind) * amount for kind, amount in amounts.items()))

    def _luts_each(self, kind: str) -> float:
        return self.luts.get(kind, self.luts.get(kind.replace("counter", "lut"), 1.0))

    def estimate(self, graph: LutGraph, family: Family) -> Estimate:
        """The estimate for a scheduled graph on a family."""
        parts = {part: self.luts_of(amounts) for part, amounts in amounts_by_part(graph, family.lut_inputs).items()}
        fmax_mhz = None
        if self.delays is not None:
            period_ns = self.delays.period_ns(longest_path(graph, family, self.delays), count_luts(graph))
            fmax_mhz = round(1000 / period_ns, 1) if period_ns > 0 else None
        return Estimate(parts, sum(parts.values()), fmax_mhz)


@cache
def cost_models() -> dict[str, CostModel]:
    """The calibrated models by family; families that were not calibrated have none."""
    data = json.loads(MODELS.read_text())
    return {
        family: CostModel(one["luts"], Delays(**one["delays"]) if one["delays"] else None)
        for family, one in data.items()
    }


def models_to_json(models: Mapping[str, CostModel]) -> str:
    return json.dumps({family: asdict(model) for family, model in models.items()}, indent=2) + "\n"


def estimate_all(graph: LutGraph) -> dict[str, Estimate]:
    """Estimates of a scheduled graph for every calibrated family."""
    return {family: model.estimate(graph, FAMILIES[family]) for family, model in cost_models().items()}
