"""The proof of pass steps: it accepts what passes do and refuses every doctored step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from difflut_compiler.errors import MismatchError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import (
    Add,
    ArgMax,
    Compare,
    Const,
    Greater,
    Input,
    Lut,
    Mux,
    Output,
    PopCount,
    complement_pins,
)
from difflut_compiler.passes import (
    EXPAND,
    LUT_INPUTS,
    OPTIMISE,
    PASSES,
    ExpandArgMax,
    ExpandPopCount,
    Pass,
    PassResult,
    PassStep,
    expanding_passes,
    run_passes,
)
from difflut_compiler.verify.prove_passes import prove_step
from tests.compiler.random_graphs import SEEDS, Shape, all_inputs, make_graph, random_inputs, slow_outputs
from tests.compiler.random_graphs import SHAPES as ANY_SHAPE

SHAPES = [
    Shape(features=2, bits=3, classes=5, widths=(20, 30)),
    Shape(features=1, bits=8, signed=True, thresholds=5, widths=(15,), max_fan_in=7, classes=12),
    Shape(features=3, bits=1, thresholds=2, widths=(9, 9, 40), max_fan_in=3, classes=2),
]


def all_steps(shape: Shape, seed: int) -> list[PassStep]:
    graph = make_graph(shape, seed)
    inputs = random_inputs(graph, 64)
    return run_passes(graph, OPTIMISE, inputs) + run_passes(graph, EXPAND, inputs, repeat=False)


def only_step(name: str, graph: LutGraph) -> PassStep:
    return step_of(PASSES[name], graph)


def step_of(one: Pass, graph: LutGraph) -> PassStep:
    (step,) = run_passes(graph, [one], all_inputs(graph), repeat=False)
    return step


def doctor(step: PassStep, net: int, **changes: Any) -> PassStep:
    """The step with one node after it changed."""
    return dataclasses.replace(step, after={**step.after, net: step.after[net]._replace(**changes)})


def net_of(step: PassStep, origin: str) -> int:
    """The net after the step whose origin ends like that."""
    (net,) = [net for net, node in step.after.items() if str(node.origin).endswith(origin)]
    return net


def test_every_pass_has_steps_that_are_accepted(tmp_path: Path) -> None:
    steps = [step for shape in SHAPES for step in all_steps(shape, seed=1)]
    assert {step.name for step in steps} == set(PASSES)
    proofs = [prove_step(step, tmp_path) for step in steps]
    assert all(proof.comparisons > 0 for proof in proofs)
    assert {proof.name for proof in proofs if proof.by_rule} >= {"expand-popcount", "expand-argmax"}
    assert {proof.name for proof in proofs if proof.by_sat} >= {"fold-constants", "drop-unused-inputs"}


def check_all_steps(shape: Shape, seed: int, folder: Path) -> None:
    for step in all_steps(shape, seed):
        assert prove_step(step, folder).comparisons > 0


@given(ANY_SHAPE, SEEDS)
@settings(max_examples=3)
def test_what_the_passes_do_is_proven(tmp_path_factory: pytest.TempPathFactory, shape: Shape, seed: int) -> None:
    check_all_steps(shape, seed, tmp_path_factory.mktemp("step"))


@pytest.mark.slow
@given(ANY_SHAPE, SEEDS)
@settings(max_examples=500)
def test_what_the_passes_do_is_proven_often(tmp_path_factory: pytest.TempPathFactory, shape: Shape, seed: int) -> None:
    check_all_steps(shape, seed, tmp_path_factory.mktemp("step"))


@pytest.mark.parametrize("name", [one.name for one in OPTIMISE])
def test_a_flipped_table_bit_is_refused(name: str, tmp_path: Path) -> None:
    step = next(step for step in all_steps(SHAPES[0], seed=3) if step.name == name)
    luts = {net: node.op for net, node in step.after.items() if isinstance(node.op, Lut)}
    assert luts
    for net, op in list(luts.items())[::7]:
        # All pins can be 0, whichever of them read the same net.
        doctored = doctor(step, net, op=Lut(op.fan_in, op.table ^ 1))
        with pytest.raises(MismatchError, match=f"pass {name} changed the function of a net"):
            prove_step(doctored, tmp_path)


def test_a_wrong_merge_is_refused(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class MergeAnything:
        name = "merge-anything"

        def apply(self, graph: LutGraph) -> PassResult:
            graph.redirect({3: 2})
            return PassResult(True, {3: 2})

    graph = LutGraph("g", ["input", "layers.0", "output"])
    for index in range(2):
        graph.add(Input(f"x{index}", 1), origin=Origin("input", index))
    for index, table in enumerate((0b0110, 0b1110)):
        graph.add(Lut(2, table), (0, 1), origin=Origin("layers.0", index))
    graph.add(Output("y"), (3,), origin=Origin("output", 0))
    # On these vectors, the two LUTs agree.
    (step,) = run_passes(graph, [MergeAnything()], all_inputs(graph)[:3], repeat=False)  # type: ignore[list-item]
    with pytest.raises(MismatchError, match="merge-anything changed the function of a net"):
        prove_step(step, tmp_path)


def test_changed_ports_are_refused(tmp_path: Path) -> None:
    step = only_step("drop-dead", sum_graph(13))
    output = net_of(step, "output[0]")
    with pytest.raises(MismatchError, match="changed the outputs of the circuit"):
        prove_step(doctor(step, output, op=Output("z")), tmp_path)
    with pytest.raises(MismatchError, match="changed the inputs of the circuit"):
        prove_step(doctor(step, 0, op=Input("x0", 1, signed=True)), tmp_path)


def opposite_graph() -> LutGraph:
    """Two LUTs with opposite tables that a third one reads, and one that has nothing to do with them."""
    graph = LutGraph("g", ["input", "layers.0", "layers.1", "output"])
    for index in range(2):
        graph.add(Input(f"x{index}", 1), origin=Origin("input", index))
    for index, table in enumerate((0b0110, 0b1001, 0b1110)):
        graph.add(Lut(2, table), (0, 1), origin=Origin("layers.0", index))
    graph.add(Lut(3, 0b1001_0011), (2, 3, 4), origin=Origin("layers.1", 0))
    graph.add(Output("y"), (5,), origin=Origin("output", 0))
    return graph


def test_the_proof_looks_only_into_opened_nets(tmp_path: Path) -> None:
    step = only_step("merge-duplicates", opposite_graph())
    assert step.after[3].op == Lut(1, 0b01)
    assert prove_step(step, tmp_path).by_sat == 1
    with pytest.raises(MismatchError, match="merge-duplicates changed the function of a net"):
        prove_step(dataclasses.replace(step, opened=frozenset()), tmp_path)


@pytest.mark.parametrize("opened", [set(), {2}, {2, 3, 4, 5}])
def test_opening_nets_does_not_make_a_wrong_step_right(opened: set[int], tmp_path: Path) -> None:
    step = only_step("merge-duplicates", opposite_graph())
    wrong_source = dataclasses.replace(doctor(step, 3, operands=(4,)), opened=opened)
    no_inverter = dataclasses.replace(doctor(step, 3, op=Lut(1, 0b10)), opened=opened)
    for doctored in (wrong_source, no_inverter):
        with pytest.raises(MismatchError, match="merge-duplicates changed the function of a net"):
            prove_step(doctored, tmp_path)


def test_a_step_that_turns_the_order_round_is_refused(tmp_path: Path) -> None:
    """Each of the two nets is what the other one says it is: only the order of the proof shows that this is empty."""
    graph = opposite_graph()
    before = graph.snapshot()
    buffers = {
        2: before[2]._replace(op=Lut(1, 0b01), operands=(3,)),
        3: before[3]._replace(op=Lut(1, 1), operands=(2,)),
    }
    step = PassStep("swindle", before, {**before, **buffers}, {}, 0.0, frozenset({2, 3}))
    with pytest.raises(MismatchError, match="swindle made a net depend on one that depended on it"):
        prove_step(step, tmp_path)


# -- sums --------------------------------------------------------------------------------------------------------------


def sum_graph(bits: int, offset: int = 3) -> LutGraph:
    """A popcount of ``bits`` bits, which are inverters of as many inputs; one inverter is dead."""
    graph = LutGraph("g", ["input", "layers.0", "class_counts", "output"])
    words = [graph.add(Input(f"x{index}", 1), origin=Origin("input", index)) for index in range(bits)]
    luts = [graph.add(Lut(1, 1), (word,), origin=Origin("layers.0", index)) for index, word in enumerate(words)]
    graph.add(Lut(1, 2), (words[0],), origin=Origin("layers.0", bits))
    count = graph.add(PopCount(offset), luts, origin=Origin("class_counts", 0))
    graph.add(Output("y"), (count,), origin=Origin("output", 0))
    return graph


def counter_of(step: PassStep, bit: int) -> list[int]:
    """The LUTs of the first counter that reads this bit of the count."""
    pins = next(node.operands for node in step.after.values() if bit in node.operands and "bit" in node.origin.part)
    return [net for net, node in step.after.items() if node.operands == pins]


def read_instead(step: PassStep, old: int, new: int) -> PassStep:
    for net in counter_of(step, old):
        pins = step.after[net].operands
        step = doctor(step, net, operands=tuple(new if pin == old else pin for pin in pins))
    return step


def duplicate_leaf(step: PassStep) -> PassStep:
    first, second, *_ = step.after[counter_of(step, net_of(step, "layers.0[0]"))[0]].operands
    return read_instead(step, first, second)


def foreign_leaf(step: PassStep) -> PassStep:
    return read_instead(step, net_of(step, "layers.0[0]"), net_of(step, "layers.0[12]"))


def negative_leaf(step: PassStep) -> PassStep:
    """Count a bit's opposite, in all LUTs of its counter."""
    bit = net_of(step, "layers.0[0]")
    for net in counter_of(step, bit):
        op, pins = step.after[net].op, step.after[net].operands
        assert isinstance(op, Lut)
        step = doctor(step, net, op=complement_pins(op, [pin == bit for pin in pins]))
    return step


def wrong_entry(step: PassStep) -> PassStep:
    net = counter_of(step, net_of(step, "layers.0[0]"))[1]
    op = step.after[net].op
    assert isinstance(op, Lut)
    return doctor(step, net, op=Lut(op.fan_in, op.table ^ 1 << 5))


def swap_weights(step: PassStep) -> PassStep:
    root = net_of(step, "count")
    low, high, *others = step.after[root].operands
    return doctor(step, root, operands=(high, low, *others))


def lose_a_bit(step: PassStep) -> PassStep:
    root = net_of(step, "count")
    return doctor(step, root, operands=step.after[root].operands[:-1], width=step.after[root].width - 1)


def stuck_bit(step: PassStep) -> PassStep:
    return doctor(step, step.after[net_of(step, "count")].operands[0], op=Const(1), operands=())


def wrong_operation(step: PassStep) -> PassStep:
    return doctor(step, net_of(step, "count"), op=ArgMax())


def wrong_root(step: PassStep) -> PassStep:
    bit = step.after[net_of(step, "count")].operands[0]
    return dataclasses.replace(step, replaced=dict.fromkeys(step.replaced, bit))


COUNT_SPOILERS = [
    duplicate_leaf,
    foreign_leaf,
    negative_leaf,
    wrong_entry,
    swap_weights,
    lose_a_bit,
    stuck_bit,
    wrong_operation,
    wrong_root,
]


@pytest.mark.parametrize("spoil", COUNT_SPOILERS)
def test_a_wrong_tree_of_counters_is_refused(spoil: Callable[[PassStep], PassStep], tmp_path: Path) -> None:
    graph = sum_graph(12)
    inputs = random_inputs(graph, 400)
    step = only_step("expand-popcount", graph)
    assert prove_step(step, tmp_path).by_rule == 1
    doctored = spoil(step)
    wrong = doctored.after if spoil is not wrong_root else step.after
    assert (slow_outputs(wrong, inputs) != slow_outputs(graph, inputs)) or spoil is wrong_root
    with pytest.raises(MismatchError, match="pass expand-popcount"):
        prove_step(doctored, tmp_path)


@pytest.mark.parametrize("lut_inputs", LUT_INPUTS)
@pytest.mark.parametrize("offset", [0, 1, 6])
@pytest.mark.parametrize("bits", [*range(1, 20), 31, 64, 100])
def test_trees_of_counters_are_accepted(bits: int, offset: int, lut_inputs: int, tmp_path: Path) -> None:
    graph = sum_graph(bits, offset)
    (step,) = run_passes(graph, [ExpandPopCount(lut_inputs)], random_inputs(graph, 8), repeat=False)
    assert prove_step(step, tmp_path).by_rule == 1


# -- sums in fewer bits ------------------------------------------------------------------------------------------------


def adder_graph(bits: int) -> LutGraph:
    """Whether the sum of two words of three bits, in so many bits, is greater than 7."""
    graph = LutGraph("g", ["input", "layers.0", "output"])
    words = [graph.add(Input(f"x{index}", 3), origin=Origin("input", index)) for index in range(2)]
    total = graph.add(Add(bits), words, origin=Origin("layers.0", 0))
    seven = graph.add(Const(7, 3), origin=Origin("layers.0", 1))
    more = graph.add(Greater(), (seven, total), origin=Origin("layers.0", 2))
    graph.add(Output("y"), (more,), origin=Origin("output", 0))
    return graph


def resize_sum(graph: LutGraph, bits: int, by_new_net: bool) -> PassStep:
    """The sum of :func:`adder_graph` made in another number of bits, in place or by a net that replaces it."""
    before = graph.snapshot()
    total, operands = 2, before[2].operands
    replaced = {}
    if by_new_net:
        replaced[total] = graph.add(Add(bits), operands, origin=Origin("layers.0", 3))
        graph.redirect(replaced)
    else:
        graph.replace(total, Add(bits), operands)
    graph.verify()
    return PassStep("resize", before, graph.snapshot(), replaced, 0.0)


@pytest.mark.parametrize("by_new_net", [False, True])
@pytest.mark.parametrize(("old", "new"), [(4, 3), (5, 4), (3, 4), (4, 6)])
def test_a_sum_may_not_lose_its_carry(old: int, new: int, by_new_net: bool, tmp_path: Path) -> None:
    graph = adder_graph(old)
    inputs = all_inputs(graph)
    answers = slow_outputs(graph, inputs)
    step = resize_sum(graph, new, by_new_net)
    assert (slow_outputs(graph, inputs) == answers) == (min(old, new) > 3)
    if min(old, new) > 3:
        assert prove_step(step, tmp_path).by_sat >= 1
    else:
        with pytest.raises(MismatchError, match="resize changed the function of a net"):
            prove_step(step, tmp_path)


# -- the argmax --------------------------------------------------------------------------------------------------------


def vote_graph(classes: int) -> LutGraph:
    """The argmax of as many words of two bits."""
    graph = LutGraph("g", ["input", "encoder", "class_counts", "argmax", "output"])
    words = [graph.add(Input(f"x{index}", 2), origin=Origin("input", index)) for index in range(classes)]
    counts = []
    for index, word in enumerate(words):
        bits = [
            graph.add(Compare(level), (word,), origin=Origin("encoder", 3 * index + level - 1)) for level in (1, 2, 3)
        ]
        counts.append(graph.add(PopCount(), bits, origin=Origin("class_counts", index)))
    winner = graph.add(ArgMax(), counts, origin=Origin("argmax", 0))
    graph.add(Output("y"), (winner,), origin=Origin("output", 0))
    return graph


def swap(step: PassStep, origin: str, first: int, second: int) -> PassStep:
    net = net_of(step, origin)
    operands = list(step.after[net].operands)
    operands[first], operands[second] = operands[second], operands[first]
    return doctor(step, net, operands=tuple(operands))


def right_wins_ties(step: PassStep) -> PassStep:
    """[left > right] with the sides of both multiplexers exchanged: the argmax, but for ties."""
    for origin, sides in (("right_wins0", (0, 1)), ("score0", (1, 2)), ("index0", (1, 2))):
        step = swap(step, origin, *sides)
    return step


def same_position_twice(step: PassStep) -> PassStep:
    return doctor(step, net_of(step, "position2"), op=Const(1, 2))


def position_out_of_range(step: PassStep) -> PassStep:
    return doctor(step, net_of(step, "position2"), op=Const(3, 2))


def leave_last_out(step: PassStep) -> PassStep:
    root = net_of(step, "index0")
    short = dataclasses.replace(step, replaced=dict.fromkeys(step.replaced, root))
    return doctor(short, net_of(step, "output[0]"), operands=(root,))


def leave_middle_out(step: PassStep) -> PassStep:
    """The final is between the first and the last, as if the first match had always been won by the left one."""
    scores = [step.after[net_of(step, "right_wins0")].operands[0], step.after[net_of(step, "right_wins1")].operands[1]]
    final = net_of(step, "right_wins1")
    step = doctor(step, final, operands=tuple(scores))
    return doctor(step, net_of(step, "index1"), operands=(final, net_of(step, "position0"), net_of(step, "position2")))


def wrong_score(step: PassStep) -> PassStep:
    """The final compares with the left side of the first match, whoever won it."""
    final = net_of(step, "right_wins1")
    first, _ = step.after[net_of(step, "right_wins0")].operands
    return doctor(step, final, operands=(first, step.after[final].operands[1]))


def select_by_another_match(step: PassStep) -> PassStep:
    final = net_of(step, "index1")
    return doctor(step, final, operands=(net_of(step, "right_wins0"), *step.after[final].operands[1:]))


def not_a_comparison(step: PassStep) -> PassStep:
    return doctor(step, net_of(step, "right_wins0"), op=Add(2))


ARGMAX_SPOILERS: dict[str, Callable[[PassStep], PassStep]] = {
    "scores swapped": lambda step: swap(step, "right_wins0", 0, 1),
    "positions swapped": lambda step: swap(step, "index0", 1, 2),
    "winner's score swapped": lambda step: swap(step, "score0", 1, 2),
    "ties to the right": right_wins_ties,
    "same position twice": same_position_twice,
    "position out of range": position_out_of_range,
    "last operand left out": leave_last_out,
    "middle operand left out": leave_middle_out,
    "loser's score goes on": wrong_score,
    "another match decides": select_by_another_match,
    "not a comparison": not_a_comparison,
}


def compare_twice_with(side: str) -> Callable[[PassStep], PassStep]:
    """Whether the last one wins is by its match with ``side``, whichever of the two is better."""

    def spoil(step: PassStep) -> PassStep:
        wins, match = net_of(step, "right_wins1"), net_of(step, f"beats_{side}1")
        return doctor(step, wins, operands=(step.after[wins].operands[0], match, match))

    return spoil


def worse_one_counts(step: PassStep) -> PassStep:
    return swap(step, "right_wins1", 1, 2)


def judge_by_own_match(step: PassStep) -> PassStep:
    wins = net_of(step, "right_wins1")
    return doctor(step, wins, operands=(net_of(step, "beats_right1"), *step.after[wins].operands[1:]))


MATCH_OF_THREE_SPOILERS: dict[str, Callable[[PassStep], PassStep]] = {
    "only the left one is met": compare_twice_with("left"),
    "only the right one is met": compare_twice_with("right"),
    "the worse one counts": worse_one_counts,
    "another match says which is better": judge_by_own_match,
    "a comparison the other way round": lambda step: swap(step, "beats_right1", 0, 1),
}
SPOILERS = [(4, spoil) for spoil in ARGMAX_SPOILERS.values()] + [
    (6, spoil) for spoil in MATCH_OF_THREE_SPOILERS.values()
]


@pytest.mark.parametrize(("lut_inputs", "spoil"), SPOILERS, ids=[*ARGMAX_SPOILERS, *MATCH_OF_THREE_SPOILERS])
def test_a_wrong_tournament_is_refused(lut_inputs: int, spoil: Callable[[PassStep], PassStep], tmp_path: Path) -> None:
    graph = vote_graph(3)
    inputs = all_inputs(graph)
    expected = slow_outputs(graph, inputs)
    step = step_of(ExpandArgMax(lut_inputs), graph)
    assert prove_step(step, tmp_path).by_rule == 1
    doctored = spoil(step)
    assert slow_outputs(doctored.after, inputs) != expected, "this step is not wrong"
    with pytest.raises(MismatchError, match="pass expand-argmax"):
        prove_step(doctored, tmp_path)


@pytest.mark.parametrize("lut_inputs", [4, 6])
@pytest.mark.parametrize("classes", range(2, 13))
def test_tournaments_of_every_size_are_accepted(classes: int, lut_inputs: int, tmp_path: Path) -> None:
    graph = vote_graph(classes)
    (step,) = run_passes(graph, [ExpandArgMax(lut_inputs)], random_inputs(graph, 20), repeat=False)
    assert prove_step(step, tmp_path).by_rule == 1
    kinds = [node.op for node in step.after.values()]
    threes = matches_of_three(classes) if lut_inputs == 6 else 0
    assert kinds.count(Greater()) == classes - 1 + threes
    assert kinds.count(Mux()) == 2 * (classes - 1) + threes


def matches_of_three(classes: int) -> int:
    """Three meet as long as there are three; one or two who are left over go on alone or meet."""
    return classes // 3 + matches_of_three(-(-classes // 3)) if classes > 2 else 0


@pytest.mark.parametrize("lut_inputs", [5, 6])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_words_of_bits_become_proven_luts(classes: int, lut_inputs: int, tmp_path: Path) -> None:
    graph = vote_graph(classes)
    steps = run_passes(graph, expanding_passes(lut_inputs), random_inputs(graph, 200), repeat=False)
    (step,) = [step for step in steps if step.name == "expand-words"]
    proof = prove_step(step, tmp_path)
    words = [net for net, node in step.before.items() if isinstance(node.op, Greater | Mux)]
    assert proof.by_sat == len(words)
    ops = [graph.node(net).op for net in graph]
    assert not any(isinstance(op, Greater | Mux) for op in ops)
    assert all(op.fan_in <= lut_inputs for op in ops if isinstance(op, Lut))
    lut = next(net for net in words if isinstance(step.after[net].op, Lut))
    op = step.after[lut].op
    assert isinstance(op, Lut)
    with pytest.raises(MismatchError, match="pass expand-words changed the function of a net"):
        prove_step(doctor(step, lut, op=Lut(op.fan_in, op.table ^ 1)), tmp_path)
