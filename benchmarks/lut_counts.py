"""LUT-6 counts: the exact passes against ABC, sums and argmax against Yosys, and what accuracy budgets buy.

    python benchmarks/lut_counts.py --data FOLDER [-o build/lut_counts]

``FOLDER`` holds ``mnist.npz``, ``phoneme.npz`` and ``magic04.npz`` with the arrays of ``difflut train``. Networks are
the package's pretrained ones and small ones that are trained here, of LUT-6 and of 2-input gates; what lies in the
output folder already is not trained again. Every row is printed as it is done, and all figures are in
``lut_counts.json``. ``--networks`` and ``--figures`` take some of them only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dont_cares import DontCareCount, count_dont_cares

from difflut.models.published import get_pretrained_model_info
from difflut.training import TrainingConfig, train
from difflut_compiler.approximations import NarrowEncoder, ReplaceLuts, approximate
from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.frontend import LoadedModel, load_model
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import ArgMax, Compare, Input, Lut, Output, PopCount
from difflut_compiler.passes import EXPAND, OPTIMISE, DropDead, run_passes
from difflut_compiler.passes.resynthesise import count_luts, map_logic, take_logic
from difflut_compiler.rtl_sources import read_commands, write_sources
from difflut_compiler.schedule import schedule
from difflut_compiler.synth import count_cells
from difflut_compiler.targets import find_target
from difflut_compiler.tools import run_yosys
from difflut_compiler.vectors import make_vectors

PORTFOLIO = {
    "sweep": "sweep",
    "mfs2": "sweep; mfs2; sweep",
    "lutpack": "sweep; mfs2; lutpack; sweep",
    "if": "strash; if -K 6 -a; mfs2",
    "dch": "strash; dch; if -K 6 -a; mfs2",
    "dc2": "strash; ifraig; scorr; dc2; dc2; if -K 6 -a; mfs2",
    "resyn": "strash; balance; rewrite; refactor; balance; rewrite -z; refactor -z; balance; if -K 6 -a; mfs2",
}
"""ABC's scripts on the network as it was trained; the first three keep its LUTs, the others map it anew."""
SYNTH = """
{read}
synth -flatten -top {top}
abc -lut 6 -script +strash;if,-K,6,-a;mfs2
opt_clean -purge
tee -q -o stat.json stat -json
"""
FIGURES = ("logic", "dont-cares", "sums", "budgets")
BUDGETS = ((0.3, None), (None, 0.1), (0.3, 0.1))
"""Percentage points of training accuracy for LUTs and for the encoder."""


@dataclass(frozen=True)
class Network:
    """A trained network: a pretrained one, or one that is trained here by ``config`` on a file of the data folder."""

    name: str
    data: str
    config: Mapping[str, Any] | None = None


def _trained(name: str, data: str, bits: int, widths: list[int], node: str, epochs: int) -> Network:
    model = {
        "model_type": "feedforward",
        "layer_type": "random",
        "node_type": node,
        "encoder_config": {"name": "distributive_thermometer", "num_bits": bits},
        "node_input_dim": 2 if node == "difflogic" else 6,
        "layer_widths": widths,
        "runtime": {"output_tau": 8.0},
    }
    training = {"epochs": epochs, "batch_size": 128, "learning_rate": 0.01, "threads": 1}
    source = {"source": "digits"} if data == "digits" else {"source": "npz"}
    return Network(name, data, {"data": source, "model": model, "training": training})


NETWORKS = [
    Network("digits", "digits"),
    Network("mnist_small", "mnist.npz"),
    Network("mnist_large", "mnist.npz"),
    _trained("phoneme_lut6", "phoneme.npz", 40, [200, 100], "dwn", 10),
    _trained("magic04_lut6", "magic04.npz", 40, [200, 100], "dwn", 5),
    _trained("digits_gates", "digits", 3, [800, 800], "difflogic", 15),
    _trained("phoneme_gates", "phoneme.npz", 40, [600, 600], "difflogic", 10),
    _trained("magic04_gates", "magic04.npz", 40, [600, 600], "difflogic", 5),
    _trained("mnist_gates", "mnist.npz", 3, [2000, 2000], "difflogic", 3),
]


@dataclass(frozen=True)
class LogicCount:
    """LUT-6 of the LUT layers: as trained, after the exact passes, and after each of ABC's scripts."""

    network: str
    trained: int
    ours: int
    by_script: Mapping[str, int]

    @property
    def best_of_abc(self) -> int:
        return min(self.by_script.values())


@dataclass(frozen=True)
class SumCount:
    """LUT-6 by Yosys of encoder, sums and argmax, as emitted and as one writes them plainly."""

    network: str
    encoder: int
    plain_encoder: int
    sums: int
    plain_sums: int

    @property
    def ratio(self) -> float:
        return (self.encoder + self.sums) / (self.plain_encoder + self.plain_sums)


@dataclass(frozen=True)
class BudgetCount:
    """What accuracy budgets buy: LUT-6 of the LUT layers and in total by the graph's count, and test accuracy."""

    network: str
    lut_budget: float | None
    encoder_budget: float | None
    luts: int
    exact_luts: int
    total: int
    exact_total: int
    test_accuracy: float
    exact_test_accuracy: float


def find_model(network: Network, data: Path, out: Path) -> LoadedModel:
    """The network, trained first if it is none of the package's and not there yet."""
    if network.config is None:
        return load_model(Path(get_pretrained_model_info(network.name)["weights_path"]))
    folder = out / network.name
    if not (folder / "model.pth").exists():
        settings = TrainingConfig.from_dict(network.config)
        train(settings, folder, data_path=None if network.data == "digits" else data / network.data)
    return load_model(folder / "model.pth")


def optimise(graph: LutGraph) -> LutGraph:
    """What the exact passes make of a graph."""
    smaller = graph.copy()
    run_passes(smaller, OPTIMISE, make_vectors(graph, None).inputs)
    return smaller


def count_kind(graph: LutGraph, kind: type) -> int:
    return sum(isinstance(node.op, kind) for node in graph.nodes.values())


def count_logic(name: str, lowered: LutGraph, optimised: LutGraph) -> LogicCount:
    """ABC sees the LUT layers alone, with the encoder's bits as inputs, as Yosys hands them over."""
    mapped = map_logic(lowered, take_logic(lowered), list(PORTFOLIO.values()))
    by_script = dict(zip(PORTFOLIO, map(count_luts, mapped), strict=True))
    return LogicCount(name, count_kind(lowered, Lut), count_kind(optimised, Lut), by_script)


# -- encoder, sums and argmax ------------------------------------------------------------------------------------------


def encoder_of(graph: LutGraph) -> LutGraph:
    """The comparators alone; every one is an output."""
    alone = LutGraph("encoder", ("input", "encoder", "output"))
    words = {net: alone.add(graph.node(net).op, (), origin=graph.node(net).origin) for net in graph.inputs()}
    for net in graph.order():
        node = graph.node(net)
        if isinstance(node.op, Compare):
            bit = alone.add(node.op, (words[node.operands[0]],), origin=node.origin)
            alone.add(Output(f"bit_{net}"), (bit,), origin=Origin("output", net))
    return alone


def sums_of(graph: LutGraph) -> LutGraph:
    """The sums and the argmax alone; every vote is an input."""
    alone = LutGraph("sums", ("input", "class_counts", "argmax", "output"))
    nets: dict[int, int] = {}
    for net in graph.order():
        node = graph.node(net)
        if isinstance(node.op, PopCount):
            for operand in node.operands:
                if operand not in nets:
                    origin = Origin("input", len(nets))
                    nets[operand] = alone.add(Input(f"vote_{len(nets)}", 1, False), (), origin=origin)
        if isinstance(node.op, PopCount | ArgMax | Output):
            nets[net] = alone.add(node.op, [nets[operand] for operand in node.operands], origin=node.origin)
    return alone


def write_plain_encoder(encoder: LutGraph) -> str:
    """The comparators as one writes them by hand."""
    words = {net: encoder.node(net).op for net in encoder.inputs()}
    lines = []
    for place, net in enumerate(encoder.outputs()):
        node = encoder.node(encoder.node(net).operands[0])
        word, op = words[node.operands[0]], node.op
        assert isinstance(word, Input)
        assert isinstance(op, Compare)
        feature = f"x{node.operands[0]}"
        value = f"$signed({feature})" if word.signed else f"{{1'b0, {feature}}}"
        literal = f"{'-' if op.threshold < 0 else ''}{word.bits + 1}'sd{abs(op.threshold)}"
        lines.append(f"  assign bits[{place}] = $signed({value}) >= {literal};")
    ports = [f"  input [{op.bits - 1}:0] x{net}," for net, op in words.items() if isinstance(op, Input)]
    return "\n".join(["module plain(", *ports, f"  output [{len(lines) - 1}:0] bits", ");", *lines, "endmodule", ""])


def write_plain_sums(sums: LutGraph) -> str:
    """The sums and the argmax as one writes them by hand: additions, and a comparison after the other."""
    (argmax,) = (node for node in sums.nodes.values() if isinstance(node.op, ArgMax))
    place = {net: number for number, net in enumerate(sums.inputs())}
    width = max(sums.node(net).width for net in argmax.operands)
    lines, choice = [], [f"    best = count_0; class_index = {argmax.width}'d0;"]
    for number, net in enumerate(argmax.operands):
        node = sums.node(net)
        assert isinstance(node.op, PopCount)
        votes = " + ".join([*(f"votes[{place[operand]}]" for operand in node.operands), f"{width}'d{node.op.offset}"])
        lines.append(f"  wire [{width - 1}:0] count_{number} = {votes};")
        if number:
            then = f"best = count_{number}; class_index = {argmax.width}'d{number};"
            choice.append(f"    if (count_{number} > best) begin {then} end")
    return "\n".join(
        [
            f"module plain(input [{len(place) - 1}:0] votes, output reg [{argmax.width - 1}:0] class_index);",
            *lines,
            f"  reg [{width - 1}:0] best;",
            "  always @* begin",
            *choice,
            "  end",
            "endmodule",
            "",
        ]
    )


def emit_graph(graph: LutGraph) -> BuildPlan:
    """Our Verilog."""
    expanded = graph.copy()
    run_passes(expanded, EXPAND, make_vectors(graph, None).inputs, repeat=False)
    return emit(schedule(expanded, "none"), find_target("verilog"), graph.name)


def count_plan(plan: BuildPlan) -> int:
    """LUT-6 that Yosys makes of it: by the compiler's script, or by its own ``synth`` if these are fewer."""
    with tempfile.TemporaryDirectory(prefix="difflut-") as name:
        folder = Path(name)
        ours = count_cells(plan, folder).luts
        (folder / "plain").mkdir()
        sources = write_sources(plan, folder / "plain", plan.top)
        run_yosys(SYNTH.format(read=read_commands(sources), top=plan.top), folder / "plain")
        cells = json.loads((folder / "plain" / "stat.json").read_text())["design"]["num_cells_by_type"]
        return min(ours, int(cells.get("$lut", 0)))


def count_sums(name: str, lowered: LutGraph, optimised: LutGraph) -> SumCount:
    """The plain encoder has the comparators that some LUT reads on its way to an output; sums are the trained ones."""
    read = lowered.copy()
    DropDead().apply(read)
    encoder, sums = emit_graph(encoder_of(optimised)), emit_graph(sums_of(optimised))
    plain_encoder = as_plain(encoder, write_plain_encoder(encoder_of(read)))
    plain_sums = as_plain(sums, write_plain_sums(sums_of(read)))
    return SumCount(name, *map(count_plan, (encoder, plain_encoder, sums, plain_sums)))


def as_plain(plan: BuildPlan, text: str) -> BuildPlan:
    """A module ``plain`` in the place of emitted files."""
    return replace(plan, top="plain", core="plain", files={"plain.v": text})


# -- accuracy budgets --------------------------------------------------------------------------------------------------


def count_budgets(network: Network, model: LoadedModel, lowered: LutGraph, data: Path) -> Iterator[BudgetCount]:
    source = network.data if network.data == "digits" else str(data / network.data)
    training, test = model.load_training_data(source), model.load_data(source)
    exact = optimise(lowered)
    for luts, encoder in BUDGETS:
        chosen = [ReplaceLuts(luts)] if luts is not None else []
        approximated, records = approximate(
            lowered, [*chosen, *([NarrowEncoder(encoder)] if encoder is not None else [])], training, test
        )
        smaller = optimise(approximated)
        yield BudgetCount(
            network.name,
            luts,
            encoder,
            count_kind(smaller, Lut),
            count_kind(exact, Lut),
            smaller.size().lut6_total,
            exact.size().lut6_total,
            records[-1].test_accuracy_after,
            records[0].test_accuracy_before,
        )


# -- the command -------------------------------------------------------------------------------------------------------


def describe_logic(row: LogicCount) -> str:
    script = min(row.by_script, key=lambda name: row.by_script[name])
    ratio = row.ours / row.best_of_abc
    return f"| {row.network} | {row.trained:,} | {row.best_of_abc:,} ({script}) | {row.ours:,} | {ratio:.3f} |"


def describe_dont_cares(row: DontCareCount) -> str:
    return f"| {row.network} | {row.luts:,} | {row.impossible:,} | {row.narrower:,} | {row.joined:,} |"


def describe_sums(row: SumCount) -> str:
    return (
        f"| {row.network} | {row.plain_encoder:,} | {row.encoder:,} | {row.plain_sums:,} | {row.sums:,} "
        f"| {row.ratio:.2f} |"
    )


def describe_budget(row: BudgetCount) -> str:
    budgets = ["-" if budget is None else f"{budget:g}" for budget in (row.lut_budget, row.encoder_budget)]
    ratio = row.luts / row.exact_luts
    return (
        f"| {row.network} | {' | '.join(budgets)} | {row.exact_luts:,} | {row.luts:,} | {ratio:.2f} "
        f"| {row.exact_total:,} | {row.total:,} | {row.exact_test_accuracy:.2%} | {row.test_accuracy:.2%} |"
    )


def main() -> None:
    names = [network.name for network in NETWORKS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/lut_counts"))
    parser.add_argument("--networks", nargs="+", choices=names, default=names)
    parser.add_argument("--figures", nargs="+", choices=FIGURES, default=FIGURES)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in options.figures}
    for network in (one for one in NETWORKS if one.name in options.networks):
        model = find_model(network, options.data, options.output)
        lowered, _, _ = model.lower(network.name)
        optimised = optimise(lowered)
        rows: list[tuple[str, LogicCount | DontCareCount | SumCount | BudgetCount, str]] = []
        if "logic" in figures:
            logic = count_logic(network.name, lowered, optimised)
            rows.append(("logic", logic, describe_logic(logic)))
        if "dont-cares" in figures:
            dont_cares = count_dont_cares(network.name, optimised)
            rows.append(("dont-cares", dont_cares, describe_dont_cares(dont_cares)))
        if "sums" in figures:
            sums = count_sums(network.name, lowered, optimised)
            rows.append(("sums", sums, describe_sums(sums)))
        if "budgets" in figures:
            rows += [
                ("budgets", row, describe_budget(row)) for row in count_budgets(network, model, lowered, options.data)
            ]
        for table, row, line in rows:
            figures[table].append(asdict(row))
            print(table, line, flush=True)
        (options.output / "lut_counts.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
