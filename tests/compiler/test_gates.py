"""The reference gates of the proofs mean what the operations mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from difflut_compiler.circuits.gates import Blif, write_gates
from difflut_compiler.graph import Node, Origin
from difflut_compiler.ops import (
    OP_BY_KIND,
    Add,
    AnyOp,
    ArgMax,
    Bit,
    Compare,
    Concat,
    Const,
    Greater,
    Input,
    Lut,
    Mux,
    Output,
    PopCount,
    Register,
)
from difflut_compiler.passes import EXPAND, OPTIMISE, run_passes
from difflut_compiler.schedule import schedule
from difflut_compiler.verify.cut import cut_names, next_of, reference_circuit
from tests.compiler.blif import BlifCircuit
from tests.compiler.random_graphs import (
    SEEDS,
    SHAPES,
    Shape,
    bits_of,
    make_graph,
    random_inputs,
    slow_value,
    slow_values,
)


def packed(columns: Sequence[Sequence[int]], widths: Sequence[int]) -> dict[str, int]:
    """Operand values, one column per operand, as packed bits ``operand.bit``."""
    bits: dict[str, int] = {}
    for operand, (column, width) in enumerate(zip(columns, widths, strict=True)):
        for place in range(width):
            bits[f"{operand}.{place}"] = sum((value >> place & 1) << sample for sample, value in enumerate(column))
    return bits


def gate_values(
    op: AnyOp, columns: Sequence[Sequence[int]], widths: Sequence[int], signed: bool, out: int
) -> list[int]:
    """What the gates of ``op`` make of operand values, as a word of ``out`` bits."""
    samples = len(columns[0]) if columns else 1
    blif = Blif()
    operands = [[f"{operand}.{place}" for place in range(width)] for operand, width in enumerate(widths)]
    result = [f"result.{place}" for place in range(out)]
    write_gates(blif, op, operands, signed, result)
    circuit = BlifCircuit(blif.lines, packed(columns, widths), samples)
    return [sum((circuit[bit] >> sample & 1) << place for place, bit in enumerate(result)) for sample in range(samples)]


def all_columns(widths: Sequence[int], signed: bool) -> list[list[int]]:
    ranges = [range(-(1 << width - 1), 1 << width - 1) if signed else range(1 << width) for width in widths]
    return [axis.ravel().tolist() for axis in np.meshgrid(*map(list, ranges), indexing="ij")]


Case = tuple[AnyOp, list[int], bool, int]
LUTS = ((1, 0), (1, 1), (1, 3), (2, 6), (3, 0x1B), (6, 0xDEAD_BEEF_1234_5678))
ADDERS = ((1, 1, 1), (1, 1, 2), (3, 2, 3), (2, 3, 4), (4, 4, 5), (3, 3, 6))
VOTES = ([2], [1, 1], [2, 3, 1], [2] * 5, [1] * 9)
CASES: list[Case] = [
    *[(Lut(fan_in, table), [1] * fan_in, False, 1) for fan_in, table in LUTS],
    *[(Compare(threshold), [3], True, 1) for threshold in range(-6, 7)],
    *[(Compare(threshold), [3], False, 1) for threshold in range(-2, 11)],
    *[(Compare(threshold), [1], signed, 1) for threshold in range(-2, 4) for signed in (False, True)],
    *[(Bit(place), [3], signed, 1) for place in range(3) for signed in (False, True)],
    *[(PopCount(offset), [1] * n, False, (n + offset).bit_length()) for n in range(1, 9) for offset in (0, 1, 5)],
    *[(Concat(), [1] * bits, False, bits) for bits in (1, 2, 5)],
    *[(Add(bits), [left, right], False, bits) for left, right, bits in ADDERS],
    *[(Greater(), [first, second], False, 1) for first, second in ((1, 1), (3, 3), (2, 4), (4, 1))],
    *[(Mux(), [1, when_0, when_1], False, max(when_0, when_1)) for when_0, when_1 in ((1, 1), (3, 2), (1, 4))],
    *[(ArgMax(), widths, False, max(1, (len(widths) - 1).bit_length())) for widths in VOTES],
    *[(Const(value, bits), [], False, bits) for value, bits in ((0, 1), (1, 1), (5, 3), (2, 4))],
    *[(op, [width], False, width) for op in (Register(), Output("y")) for width in (1, 4)],
]


@pytest.mark.parametrize(("op", "widths", "signed", "out"), CASES, ids=lambda value: str(value).replace(" ", ""))
def test_gates_equal_the_operation_on_every_value(op: AnyOp, widths: list[int], signed: bool, out: int) -> None:
    columns = all_columns(widths, signed)
    rows = list(zip(*columns, strict=True)) if columns else [()]
    expected = [slow_value(Node(op, (), 0, Origin("", 0)), row) for row in rows]
    assert gate_values(op, columns, widths, signed, out) == expected
    # Into a wider word go zeros: a proof may compare the result with a word that has more bits.
    assert gate_values(op, columns, widths, signed, out + 3) == expected


def test_every_operation_has_gates() -> None:
    assert {op.kind for op, *_ in CASES} | {"input"} == set(OP_BY_KIND)
    with pytest.raises(TypeError, match="an input has no gates"):
        write_gates(Blif(), Input("x", 1), [], False, ["y"])


@given(st.integers(1, 12), st.booleans(), st.data())
def test_comparators_of_any_width(bits: int, signed: bool, data: st.DataObject) -> None:
    lowest = -(1 << bits - 1) if signed else 0
    words = st.integers(lowest, lowest + (1 << bits) - 1)
    threshold = data.draw(st.integers(lowest - 2, lowest + (1 << bits) + 2))
    column = [*data.draw(st.lists(words, min_size=1, max_size=20)), lowest, lowest + (1 << bits) - 1]
    found = gate_values(Compare(threshold), [column], [bits], signed, 1)
    assert found == [int(word >= threshold) for word in column]


@given(SHAPES, SEEDS, st.sampled_from(["layers", "none"]))
def test_the_reference_circuit_is_the_graph_cut_at_every_net(shape: Shape, seed: int, pipeline: str) -> None:
    """Fed with the values of all nets, the reference drives the values of all nets."""
    graph = make_graph(shape, seed)
    inputs = random_inputs(graph, 6, seed)
    run_passes(graph, OPTIMISE, inputs)
    run_passes(graph, EXPAND, inputs, repeat=False)
    graph = schedule(graph, pipeline).graph
    reference = reference_circuit(graph, {})
    nodes = graph.snapshot()
    names = cut_names(graph)
    assert (list(reference.inputs), list(reference.outputs)) == (names.inputs, names.outputs)
    values = [slow_values(nodes, row) for row in inputs.tolist()]
    nets = {
        f"n{net}.{place}": sum(bits_of(row[net], node.width)[place] << sample for sample, row in enumerate(values))
        for net, node in nodes.items()
        for place in range(node.width)
    }
    outputs = {
        f"output_class_index.{place}": nets[f"n{net}.{place}"]
        for net in graph.outputs()
        for place in range(nodes[net].width)
    }
    circuit = BlifCircuit(reference.lines, {bit: nets[bit] for bit in reference.inputs}, len(inputs))
    expected = {**{next_of(bit): nets[bit] for bit in names.cut_bits}, **{next_of(b): v for b, v in outputs.items()}}
    assert {bit: circuit[bit] for bit in reference.outputs} == expected


def test_cut_names_are_unique_and_cover_every_bit() -> None:
    graph = make_graph(Shape(), 1)
    names = cut_names(graph).inputs
    assert len(names) == len(set(names))
    nodes = graph.snapshot().values()
    assert len(names) == sum(node.width for node in nodes if not isinstance(node.op, Const | Output))
