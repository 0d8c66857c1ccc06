"""Passes: what each one makes of a graph, that none changes an output, and that the runner catches one that lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings

from difflut_compiler.errors import CompilerError, GraphError, MismatchError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import Add, AnyOp, ArgMax, Compare, Concat, Const, Greater, Input, Lut, Mux, Output, PopCount
from difflut_compiler.passes import EXPAND, LUT_INPUTS, OPTIMISE, PASSES, ExpandPopCount, Pass, PassResult, run_passes
from tests.compiler.random_graphs import SEEDS, SHAPES, Shape, make_graph, random_inputs, slow_outputs

HEAD = ["graph g layers input layers.0 layers.1 output"]
BITS = [f"%{net}:1 = input name=x{net} bits=1 signed=False () # input[{net}]" for net in range(2)]


def build(*nodes: tuple[AnyOp, tuple[int, ...]], inputs: int = 2, layer: int = 0) -> LutGraph:
    """Input bits 0 to ``inputs - 1``, then ``nodes``, the last of which is the output ``y``."""
    graph = LutGraph("g", ["input", "layers.0", "layers.1", "output"])
    for index in range(inputs):
        graph.add(Input(f"x{index}", 1), origin=Origin("input", index))
    for index, (op, pins) in enumerate(nodes):
        graph.add(op, pins, origin=Origin(f"layers.{layer}", index))
    graph.add(Output("y"), (inputs + len(nodes) - 1,), origin=Origin("output", 0))
    graph.verify()
    return graph


GOLDEN: dict[str, list[tuple[str, LutGraph, list[str]]]] = {
    "fold-constants": [
        (
            "a constant pin is cofactored away",
            build((Const(1), ()), (Lut(3, 0b1011_0001), (0, 2, 1))),
            [
                "%2:1 = const value=1 bits=1 () # layers.0[0]",
                "%3:1 = lut fan_in=2 table=0x8 (%0 %1) # layers.0[1]",
                "%4:1 = output name=y (%3) # output[0]",
            ],
        ),
        (
            "a constant table is a constant, and found in the same sweep",
            build((Lut(2, 0b1111), (0, 1)), (Lut(2, 0b0111), (0, 2))),
            [
                "%2:1 = const value=1 bits=1 () # layers.0[0]",
                "%3:1 = lut fan_in=1 table=0x1 (%0) # layers.0[1]",
                "%4:1 = output name=y (%3) # output[0]",
            ],
        ),
        (
            "constants that are counted become the offset",
            build((Const(1), ()), (Const(0), ()), (PopCount(), (2, 0, 2, 1, 3))),
            [
                "%2:1 = const value=1 bits=1 () # layers.0[0]",
                "%3:1 = const value=0 bits=1 () # layers.0[1]",
                "%4:3 = popcount offset=2 (%0 %1) # layers.0[2]",
                "%5:3 = output name=y (%4) # output[0]",
            ],
        ),
        (
            "a comparison that constants decide, and the choice that it makes",
            build((Const(3, 2), ()), (PopCount(), (0, 1)), (Greater(), (2, 3)), (Mux(), (4, 2, 3))),
            [
                "%2:2 = const value=3 bits=2 () # layers.0[0]",
                "%3:2 = popcount offset=0 (%0 %1) # layers.0[1]",
                "%4:1 = const value=0 bits=1 () # layers.0[2]",
                "%6:2 = output name=y (%2) # output[0]",
            ],
        ),
        (
            "a sum with zero is what is added to it",
            build((Const(0, 2), ()), (PopCount(), (0, 1)), (Add(2), (3, 2))),
            [
                "%2:2 = const value=0 bits=2 () # layers.0[0]",
                "%3:2 = popcount offset=0 (%0 %1) # layers.0[1]",
                "%5:2 = output name=y (%3) # output[0]",
            ],
        ),
        (
            "a port keeps its width",
            build((Const(0, 1), ()), (Mux(), (2, 0, 1)), (Add(3), (3, 2))),
            [
                "%2:1 = const value=0 bits=1 () # layers.0[0]",
                "%4:3 = add bits=3 (%0 %2) # layers.0[2]",
                "%5:3 = output name=y (%4) # output[0]",
            ],
        ),
    ],
    "absorb-inverters": [
        (
            "a reader answers for the inverter",
            build((Lut(1, 0b01), (0,)), (Lut(2, 0b1000), (2, 1))),
            [
                "%2:1 = lut fan_in=1 table=0x1 (%0) # layers.0[0]",
                "%3:1 = lut fan_in=2 table=0x4 (%0 %1) # layers.0[1]",
                "%4:1 = output name=y (%3) # output[0]",
            ],
        ),
        (
            "two inverters are a buffer, and a buffer is nothing",
            build((Lut(1, 0b01), (0,)), (Lut(1, 0b01), (2,)), (PopCount(), (3, 2))),
            [
                "%2:1 = lut fan_in=1 table=0x1 (%0) # layers.0[0]",
                "%4:2 = popcount offset=0 (%0 %2) # layers.0[2]",
                "%5:2 = output name=y (%4) # output[0]",
            ],
        ),
    ],
    "drop-unused-inputs": [
        (
            "pins that read one net are joined",
            build((Lut(3, 0b1001_0110), (0, 1, 0))),
            [
                "%2:1 = lut fan_in=1 table=0x2 (%1) # layers.0[0]",
                "%3:1 = output name=y (%2) # output[0]",
            ],
        ),
        (
            "a pin without influence goes",
            build((Lut(2, 0b1100), (0, 1))),
            [
                "%2:1 = lut fan_in=1 table=0x2 (%1) # layers.0[0]",
                "%3:1 = output name=y (%2) # output[0]",
            ],
        ),
    ],
    "merge-duplicates": [
        (
            "permuted pins are the same LUT",
            build((Lut(2, 0b0010), (0, 1)), (Lut(2, 0b0100), (1, 0)), (Lut(2, 0b0110), (2, 3))),
            [
                "%2:1 = lut fan_in=2 table=0x2 (%0 %1) # layers.0[0]",
                "%4:1 = lut fan_in=2 table=0x6 (%2 %2) # layers.0[2]",
                "%5:1 = output name=y (%4) # output[0]",
            ],
        ),
        (
            "the opposite is an inverter",
            build((Lut(2, 0b0010), (0, 1)), (Lut(2, 0b1011), (1, 0)), (Lut(2, 0b0110), (2, 3))),
            [
                "%2:1 = lut fan_in=2 table=0x2 (%0 %1) # layers.0[0]",
                "%3:1 = lut fan_in=1 table=0x1 (%2) # layers.0[1]",
                "%4:1 = lut fan_in=2 table=0x6 (%2 %3) # layers.0[2]",
                "%5:1 = output name=y (%4) # output[0]",
            ],
        ),
    ],
    "drop-dead": [
        (
            "what no output sees goes, inputs stay",
            build((Lut(1, 0b01), (1,)), (Lut(1, 0b01), (2,)), (Lut(1, 0b10), (0,))),
            [
                "%4:1 = lut fan_in=1 table=0x2 (%0) # layers.0[2]",
                "%5:1 = output name=y (%4) # output[0]",
            ],
        )
    ],
    "pack-luts": [
        (
            "a LUT moves into its only reader, and that into its own",
            build((Lut(2, 0b1000), (0, 1)), (Lut(2, 0b0110), (2, 1)), (Lut(1, 0b01), (3,))),
            [
                "%4:1 = lut fan_in=2 table=0xd (%1 %0) # layers.0[2]",
                "%5:1 = output name=y (%4) # output[0]",
            ],
        ),
        (
            "a LUT moves into all of its readers",
            build((Lut(2, 0b1000), (0, 1)), (Lut(2, 0b0110), (2, 1)), (Lut(2, 0b0110), (2, 0)), (PopCount(), (3, 4))),
            [
                "%3:1 = lut fan_in=2 table=0x2 (%1 %0) # layers.0[1]",
                "%4:1 = lut fan_in=2 table=0x2 (%0 %1) # layers.0[2]",
                "%5:2 = popcount offset=0 (%3 %4) # layers.0[3]",
                "%6:2 = output name=y (%5) # output[0]",
            ],
        ),
    ],
    "use-dont-cares": [
        (
            "a pin that says what another one says",
            build((Lut(2, 0b1000), (0, 1)), (Lut(2, 0b0001), (2, 0)), (Lut(2, 0b1001), (2, 3))),
            [
                "%2:1 = lut fan_in=2 table=0x8 (%0 %1) # layers.0[0]",
                "%3:1 = lut fan_in=1 table=0x1 (%0) # layers.0[1]",
                "%4:1 = lut fan_in=2 table=0x9 (%2 %3) # layers.0[2]",
                "%5:1 = output name=y (%4) # output[0]",
            ],
        )
    ],
    "resynthesise": [
        (
            "two ways to the same",
            build((Lut(2, 0b1000), (0, 1)), (Lut(2, 0b0111), (1, 0)), (Lut(2, 0b0001), (3, 2)), (Lut(2, 6), (4, 0))),
            ["%6:1 = output name=y (%0) # output[0]"],
        )
    ],
    "expand-popcount": [
        (
            "two bits are a half adder",
            build((PopCount(), (0, 1))),
            [
                "%4:1 = lut fan_in=2 table=0x6 (%0 %1) # layers.0[0].bit0.0",
                "%5:1 = lut fan_in=2 table=0x8 (%0 %1) # layers.0[0].bit1.1",
                "%6:2 = concat (%4 %5) # layers.0[0].count",
                "%3:2 = output name=y (%6) # output[0]",
            ],
        ),
        (
            "an offset is in the tables where there is room, else a bit of its own",
            build((PopCount(5), (0, 1))),
            [
                "%4:1 = lut fan_in=2 table=0x9 (%0 %1) # layers.0[0].bit0.0",
                "%5:1 = lut fan_in=2 table=0xe (%0 %1) # layers.0[0].bit1.1",
                "%6:1 = const value=1 bits=1 () # layers.0[0].one2",
                "%7:3 = concat (%4 %5 %6) # layers.0[0].count",
                "%3:3 = output name=y (%7) # output[0]",
            ],
        ),
        ("the count of one bit is the bit", build((PopCount(), (1,))), ["%3:1 = output name=y (%1) # output[0]"]),
    ],
    "expand-argmax": [
        (
            "three meet in one match, in which each meets each",
            build((ArgMax(), (0, 1, 0))),
            [
                "%4:2 = const value=0 bits=2 () # layers.0[0].position0",
                "%5:2 = const value=1 bits=2 () # layers.0[0].position1",
                "%6:2 = const value=2 bits=2 () # layers.0[0].position2",
                "%7:1 = greater (%0 %1) # layers.0[0].right_wins0",
                "%8:1 = mux (%7 %0 %1) # layers.0[0].score0",
                "%9:2 = mux (%7 %4 %5) # layers.0[0].index0",
                "%10:1 = greater (%0 %0) # layers.0[0].beats_left1",
                "%11:1 = greater (%1 %0) # layers.0[0].beats_right1",
                "%12:1 = mux (%7 %10 %11) # layers.0[0].right_wins1",
                "%13:1 = mux (%12 %8 %0) # layers.0[0].score1",
                "%14:2 = mux (%12 %9 %6) # layers.0[0].index1",
                "%3:2 = output name=y (%14) # output[0]",
            ],
        )
    ],
    "expand-words": [
        (
            "a comparison is a LUT for the lowest three bits, then one for every two",
            build((Concat(), (0, 1, 0, 1)), (Concat(), (1, 0, 1)), (Greater(), (2, 3))),
            [
                "%2:4 = concat (%0 %1 %0 %1) # layers.0[0]",
                "%3:3 = concat (%1 %0 %1) # layers.0[1]",
                "%6:1 = const value=0 bits=1 () # layers.0[2].constant0",
                "%7:1 = lut fan_in=6 table=0x7f3f1f0f07030100 (%0 %1 %0 %1 %0 %1) # layers.0[2].from0",
                "%4:1 = lut fan_in=3 table=0xb2 (%7 %1 %6) # layers.0[2]",
                "%5:1 = output name=y (%4) # output[0]",
            ],
        ),
        (
            "a choice is a LUT per bit",
            build((Concat(), (0, 1)), (Mux(), (1, 2, 0))),
            [
                "%2:2 = concat (%0 %1) # layers.0[0]",
                "%5:1 = const value=0 bits=1 () # layers.0[1].constant0",
                "%6:1 = lut fan_in=3 table=0xca (%0 %0 %1) # layers.0[1].bit0",
                "%7:1 = lut fan_in=3 table=0xca (%1 %5 %1) # layers.0[1].bit1",
                "%3:2 = concat (%6 %7) # layers.0[1]",
                "%4:2 = output name=y (%3) # output[0]",
            ],
        ),
        (
            "a choice of three is one, too",
            build((Mux(), (0, 1, 0)), (Mux(), (1, 2, 0))),
            [
                "%2:1 = lut fan_in=3 table=0xca (%1 %0 %0) # layers.0[0]",
                "%3:1 = lut fan_in=5 table=0xff00caca (%1 %0 %0 %0 %1) # layers.0[1]",
                "%4:1 = output name=y (%3) # output[0]",
            ],
        ),
    ],
    "expand-encoder": [
        (
            "high parts are compared once; what is above them is above both",
            build((Input("x", 7), ()), (Compare(1), (2,)), (Compare(3), (2,)), (Lut(2, 0b0110), (3, 4))),
            [
                "%2:7 = input name=x bits=7 signed=False () # layers.0[0]",
                "%7:1 = compare threshold=4 (%2) # layers.0[1].above",
                "%8:1 = bit place=0 (%2) # layers.0[0].bit0",
                "%9:1 = bit place=1 (%2) # layers.0[0].bit1",
                "%3:1 = lut fan_in=3 table=0xfe (%8 %9 %7) # layers.0[1]",
                "%4:1 = lut fan_in=3 table=0xf8 (%8 %9 %7) # layers.0[2]",
                "%5:1 = lut fan_in=2 table=0x6 (%3 %4) # layers.0[3]",
                "%6:1 = output name=y (%5) # output[0]",
            ],
        ),
        (
            "one part for the low bits of both, which a bit above them tells apart",
            build((Input("x", 7), ()), (Compare(9), (2,)), (Compare(74), (2,)), (Lut(2, 0b0110), (3, 4))),
            [
                "%2:7 = input name=x bits=7 signed=False () # layers.0[0]",
                "%4:1 = compare threshold=74 (%2) # layers.0[2]",
                "%7:1 = bit place=0 (%2) # layers.0[0].bit0",
                "%8:1 = bit place=1 (%2) # layers.0[0].bit1",
                "%9:1 = bit place=2 (%2) # layers.0[0].bit2",
                "%10:1 = bit place=3 (%2) # layers.0[0].bit3",
                "%11:1 = bit place=4 (%2) # layers.0[0].bit4",
                "%12:1 = bit place=5 (%2) # layers.0[0].bit5",
                "%14:1 = bit place=6 (%2) # layers.0[0].bit6",
                "%13:1 = lut fan_in=6 table=0xfffffffffffffe00 (%7 %8 %9 %10 %11 %12) # layers.0[1].from0",
                "%3:1 = lut fan_in=2 table=0xe (%13 %14) # layers.0[1]",
                "%5:1 = lut fan_in=2 table=0x6 (%3 %4) # layers.0[3]",
                "%6:1 = output name=y (%5) # output[0]",
            ],
        ),
        (
            "a chain from the lowest bit up",
            build((Input("x", 7), ()), (Compare(33), (2,)), (Lut(1, 0b01), (3,))),
            [
                "%2:7 = input name=x bits=7 signed=False () # layers.0[0]",
                "%6:1 = bit place=0 (%2) # layers.0[0].bit0",
                "%7:1 = bit place=1 (%2) # layers.0[0].bit1",
                "%8:1 = bit place=2 (%2) # layers.0[0].bit2",
                "%9:1 = bit place=3 (%2) # layers.0[0].bit3",
                "%10:1 = bit place=4 (%2) # layers.0[0].bit4",
                "%11:1 = bit place=5 (%2) # layers.0[0].bit5",
                "%13:1 = bit place=6 (%2) # layers.0[0].bit6",
                "%12:1 = lut fan_in=6 table=0xfffffffe00000000 (%6 %7 %8 %9 %10 %11) # layers.0[1].from0",
                "%3:1 = lut fan_in=2 table=0xe (%12 %13) # layers.0[1]",
                "%4:1 = lut fan_in=1 table=0x1 (%3) # layers.0[2]",
                "%5:1 = output name=y (%4) # output[0]",
            ],
        ),
    ],
}

UNCHANGED: dict[str, LutGraph] = {
    "fold-constants": build((Lut(2, 0b0110), (0, 1))),
    "absorb-inverters": build((Lut(1, 0b01), (0,)), (PopCount(), (2, 1))),
    "drop-unused-inputs": build((Lut(2, 0b0110), (0, 1))),
    "merge-duplicates": build((Lut(2, 0b0110), (0, 1)), (Lut(2, 0b0010), (0, 1)), (Lut(2, 0b0010), (2, 3))),
    "pack-luts": build((Lut(2, 0b0110), (0, 1)), (PopCount(), (2, 0))),
    "use-dont-cares": build((Lut(2, 0b0110), (0, 1)), (Lut(2, 0b1000), (2, 1))),
    "resynthesise": build((Lut(2, 0b0110), (0, 1))),
    "drop-dead": build((Lut(1, 0b01), (0,))),
    "expand-popcount": build((Lut(2, 0b0110), (0, 1))),
    "expand-argmax": build((PopCount(), (0, 1))),
    "expand-words": build((PopCount(), (0, 1)), (Greater(), (0, 2))),
    "expand-encoder": build((Input("x", 8), ()), (Compare(36), (2,)), (Compare(128), (2,)), (Lut(2, 0b0110), (3, 4))),
}


@pytest.mark.parametrize("name", PASSES)
def test_what_a_pass_makes_of_a_graph(name: str) -> None:
    assert GOLDEN[name], f"{name} has no example"
    for what, before, after in GOLDEN[name]:
        graph = before.copy()
        assert PASSES[name].apply(graph).changed, what
        assert sorted(str(graph).splitlines()) == sorted(HEAD + BITS + after), what
        graph.verify()


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_with_nothing_to_do_says_so(name: str) -> None:
    graph = UNCHANGED[name].copy()
    assert PASSES[name].apply(graph) == PassResult(changed=False)
    assert str(graph) == str(UNCHANGED[name])


def test_merging_keeps_the_net_of_the_earliest_layer() -> None:
    graph = LutGraph("g", ["input", "layers.0", "layers.1", "output"])
    word = graph.add(Input("x0", 1), origin=Origin("input", 0))
    late = graph.add(Lut(1, 1), (word,), origin=Origin("layers.1", 0))
    early = graph.add(Lut(1, 1), (word,), origin=Origin("layers.0", 0))
    reader = graph.add(Lut(2, 6), (late, early), origin=Origin("layers.1", 1))
    graph.add(Output("y"), (reader,), origin=Origin("output", 0))
    assert PASSES["merge-duplicates"].apply(graph).replaced == {late: early}
    graph.verify()
    assert graph.node(reader).operands == (early, early)


def test_a_merge_makes_its_readers_equal_too() -> None:
    """Nets that become equal by an earlier merge are merged in the same sweep."""
    graph = build((Lut(1, 1), (0,)), (Lut(1, 1), (0,)), (Lut(2, 8), (2, 1)), (Lut(2, 8), (3, 1)), (Lut(2, 6), (4, 5)))
    assert PASSES["merge-duplicates"].apply(graph).replaced == {3: 2, 5: 4}


def test_operands_in_another_order_are_no_duplicates_of_ordered_operations() -> None:
    graph = build((ArgMax(), (0, 1)), (ArgMax(), (1, 0)), (ArgMax(), (2, 3)))
    assert not PASSES["merge-duplicates"].apply(graph).changed


@pytest.mark.parametrize("name", PASSES)
@given(shape=SHAPES, seed=SEEDS)
@settings(max_examples=25)
def test_a_pass_keeps_outputs_and_rules(name: str, shape: Shape, seed: int) -> None:
    graph = make_graph(shape, seed)
    inputs = random_inputs(graph, 12, seed)
    expected = slow_outputs(graph, inputs)
    before = graph.snapshot()
    result = PASSES[name].apply(graph)
    graph.verify()
    assert slow_outputs(graph, inputs) == expected
    assert result.changed == (graph.snapshot() != before)
    while PASSES[name].apply(graph).changed:  # a pass alone settles
        graph.verify()
    assert slow_outputs(graph, inputs) == expected


def check_pipeline(shape: Shape, seed: int, samples: int) -> None:
    graph = make_graph(shape, seed)
    inputs = random_inputs(graph, samples, seed)
    expected = slow_outputs(graph, inputs)
    run_passes(graph, OPTIMISE, inputs)
    assert run_passes(graph, OPTIMISE, inputs) == []
    assert slow_outputs(graph, inputs) == expected
    run_passes(graph, EXPAND, inputs, repeat=False)
    assert slow_outputs(graph, inputs) == expected
    kinds = {graph.node(net).op.kind for net in graph}
    assert not kinds & {"argmax", "popcount"}


@given(SHAPES, SEEDS)
@settings(max_examples=20)
def test_all_passes_keep_outputs_and_reach_a_fixed_point(shape: Shape, seed: int) -> None:
    check_pipeline(shape, seed, 16)


@pytest.mark.slow
@given(SHAPES, SEEDS)
@settings(max_examples=3000)
def test_all_passes_keep_outputs_on_many_graphs(shape: Shape, seed: int) -> None:
    check_pipeline(shape, seed, 64)


@pytest.mark.parametrize("lut_inputs", LUT_INPUTS)
@pytest.mark.parametrize("offset", [0, 1, 6])
@pytest.mark.parametrize("bits", [*range(1, 20), 31, 64, 100])
def test_trees_of_counters_count(bits: int, offset: int, lut_inputs: int) -> None:
    graph = build((PopCount(offset), tuple(range(bits))), inputs=bits)
    ExpandPopCount(lut_inputs).apply(graph)
    rows = np.tril(np.ones((bits + 1, bits), dtype=np.int64), -1)
    rows = np.concatenate([rows, random_inputs(graph, 20)])
    assert slow_outputs(graph, rows)["y"] == (rows.sum(axis=1) + offset).tolist()
    luts = [graph.node(net) for net in graph if isinstance(graph.node(net).op, Lut)]
    assert all(len(lut.operands) <= lut_inputs for lut in luts)
    # No LUT saves more than one bit: how close the tree comes to that, and to the two LUTs of a full adder.
    assert len(luts) <= {6: 1.2, 5: 1.75, 4: 2.2}[lut_inputs] * bits + 3 + 3 * offset.bit_count()


# -- the runner --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Liar:
    """A pass that does what it is told to."""

    action: Callable[[LutGraph], object]
    changed: bool = True
    name: ClassVar[str] = "liar"

    def apply(self, graph: LutGraph) -> PassResult:
        self.action(graph)
        return PassResult(self.changed)


def flip(graph: LutGraph) -> None:
    op = graph.node(2).op
    assert isinstance(op, Lut)
    graph.replace(2, Lut(op.fan_in, op.table ^ 1), graph.node(2).operands)


def rename_output(graph: LutGraph) -> None:
    graph.replace(3, Output("z"), graph.node(3).operands)


def break_width(graph: LutGraph) -> None:
    graph.nodes[2] = graph.node(2)._replace(width=5)


ALL_ROWS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


@pytest.mark.parametrize(
    ("liar", "error", "message"),
    [
        (Liar(flip), MismatchError, "after the passes liar: output y differs on 1 of 4 vectors, first on vector 0"),
        (Liar(flip, changed=False), MismatchError, "liar changed the graph and says that it did not"),
        (Liar(rename_output), MismatchError, r"outputs are \['z'\], were \['y'\]"),
        (Liar(break_width), GraphError, "after the passes liar: .* is 5 bits wide"),
        (Liar(lambda graph: None), CompilerError, "the passes liar still change the graph after 8 rounds"),
    ],
    ids=["function", "silent change", "outputs", "structure", "never settles"],
)
def test_the_runner_catches_a_pass_that_lies(liar: Pass, error: type[Exception], message: str) -> None:
    graph = build((Lut(2, 0b0110), (0, 1)))
    with pytest.raises(error, match=message):
        run_passes(graph, [liar], ALL_ROWS)


@dataclass(frozen=True)
class Slow:
    """A pass that removes one of the nets that nothing reads, if there is one."""

    name: ClassVar[str] = "slow"

    def apply(self, graph: LutGraph) -> PassResult:
        unread = [net for net in graph if not graph.dag.out_degree(net) and isinstance(graph.node(net).op, Const)]
        graph.remove(unread[:1])
        return PassResult(bool(unread))


def test_passes_that_make_progress_take_as_many_rounds_as_they_need() -> None:
    graph = build(*[(Const(1), ())] * 20, (Lut(2, 0b0110), (0, 1)))
    assert len(run_passes(graph, [Slow()], ALL_ROWS)) == 20


def test_the_runner_names_all_passes_so_far() -> None:
    graph = build((Const(1), ()), (Lut(2, 0b0110), (0, 2)))
    passes: Sequence[Pass] = [PASSES["fold-constants"], Liar(lambda graph: graph.replace(3, Const(0), ()))]
    with pytest.raises(MismatchError, match="after the passes fold-constants -> liar: output y differs"):
        run_passes(graph, passes, ALL_ROWS)


def test_steps_record_before_and_after_and_observers_see_them() -> None:
    graph = build((Lut(1, 0b01), (0,)), (Lut(1, 0b01), (0,)), (Lut(2, 0b1000), (2, 3)))
    before = graph.snapshot()
    seen: list[str] = []
    steps = run_passes(graph, OPTIMISE, ALL_ROWS, observer=lambda step, graph: seen.append(step.name))
    assert seen == [step.name for step in steps]
    assert steps[0].before == before
    assert steps[-1].after == graph.snapshot()
    assert all(step.before != step.after for step in steps)
