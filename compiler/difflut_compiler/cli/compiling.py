"""``difflut compile``, ``verify`` and ``reload``: hardware, and the evidence for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difflut_compiler.cli.program import (
    EXIT_MISMATCH,
    EXIT_TOOL_MISSING,
    Debug,
    Json,
    app,
    error_console,
    fail,
    graph_seconds,
    output_console,
    reporting_errors,
)
from difflut_compiler.progress import COMPILE_SHARES, RELOAD_SHARES, VERIFY_SHARES, seconds_of_compile, steps_shown

if TYPE_CHECKING:
    from difflut_compiler.graph import LutGraph
    from difflut_compiler.passes import PassStep


@app.command("compile", epilog="Example: difflut compile build/digits/model.pth --target verilog --data digits")
def compile_command(
    model: Annotated[Path, typer.Argument(help="The trained model.pth, or a graph.json.")],
    target: Annotated[str, typer.Option("--target", "-t", help="verilog, vhdl, c, ...; see: difflut targets.")],
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output folder; default: NAME_TARGET beside the model.")
    ] = None,
    top: Annotated[
        str | None, typer.Option(help="Name of the top module; default: from the model file's name.")
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option(
            help="layers: a register per layer, the default for hardware; none: combinational; N: N stages; period:NS "
            "or period:NS:FAMILY: stages that short, by estimated delays."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Also check on these test data: digits, or an .npz or .csv file.")
    ] = None,
    simulator: Annotated[
        str | None, typer.Option(help="iverilog, verilator, ghdl or gcc; default: the first that is installed.")
    ] = None,
    lut_inputs: Annotated[int, typer.Option(help="Inputs of the FPGA's LUTs: 4, 5 or 6.")] = 6,
    encoder_budget: Annotated[
        float | None,
        typer.Option(
            help="Round the encoder's thresholds for smaller comparators, at a loss of so many percentage points of "
            "accuracy on the training part of --data at most; default: thresholds stay as trained."
        ),
    ] = None,
    lut_budget: Annotated[
        float | None,
        typer.Option(
            help="Replace LUTs by constants and wires where training samples hardly notice, at a loss of so many "
            "percentage points of accuracy on the training part of --data at most; default: LUTs answer as trained."
        ),
    ] = None,
    count_luts: Annotated[
        bool | None,
        typer.Option("--count-luts/--no-count-luts", help="Synthesise with Yosys to count LUTs; default: if small."),
    ] = None,
    interface: Annotated[
        str, typer.Option(help="plain: a sample on every clock edge; valid: with valid bits; axi-stream: AXI4-Stream.")
    ] = "plain",
    stream_width: Annotated[int, typer.Option(help="Bits of a beat of the incoming AXI4-Stream.")] = 32,
    clock_enable: Annotated[
        bool, typer.Option("--clock-enable", help="A port enable: at a clock edge without it, nothing moves.")
    ] = False,
    reset: Annotated[bool, typer.Option("--reset", help="A port rst: a synchronous reset of all registers.")] = False,
    reloadable: Annotated[
        bool, typer.Option("--reloadable", help="A port through which other tables can be written; see difflut reload.")
    ] = False,
    scores: Annotated[bool, typer.Option("--scores", help="The votes of every class as outputs, too.")] = False,
    print_between_passes: Annotated[
        bool, typer.Option("--print-between-passes", help="Print the graph after every pass that changed it.")
    ] = False,
    time_passes: Annotated[bool, typer.Option("--time-passes", help="Print how long each pass took.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compile a trained model and prove the result."""
    with reporting_errors(debug):
        from difflut_compiler.names import IDENTIFIER
        from difflut_compiler.output import check_output_folder, write_output

        top = top if top is not None else _default_top(model, IDENTIFIER.fullmatch)
        folder = out if out is not None else model.parent / f"{top}_{target}"
        check_output_folder(folder)
        from difflut_compiler.driver import CompileRequest, compile_model
        from difflut_compiler.interface import Interface
        from difflut_compiler.report import documents, print_result, report, summary
        from difflut_compiler.targets import find_target

        request = CompileRequest(
            model,
            target=target,
            top=top,
            pipeline=pipeline,
            data=data,
            simulator=simulator,
            count_luts=count_luts,
            interface=Interface(
                interface, stream_bits=stream_width, clock_enable=clock_enable, reset=reset, reloadable=reloadable
            ),
            scores=scores,
            lut_inputs=lut_inputs,
            encoder_budget=encoder_budget,
            lut_budget=lut_budget,
        )
        observer = _pass_observer(print_between_passes, time_passes)
        with steps_shown(COMPILE_SHARES, error_console(), quiet=as_json) as on_step:
            result = compile_model(request, on_step=on_step, observer=observer)
        failed = result.certificate.failed
        written = find_target(target).folder
        write_output(folder, {} if failed else {written: result.plan.all_files}, documents(result))
        if as_json:
            print(json.dumps({**report(result), "certificate": json.loads(result.certificate.to_json())}))
        else:
            console = output_console()
            if console.is_terminal:
                print_result(result, console)
            else:
                print(summary(result), end="")
            console.print(
                f"A check failed: no files were written. See {folder / 'certificate.json'}."
                if failed
                else f"Wrote {folder}: {target} in {written}/, the evidence in certificate.json and summary.txt.",
                markup=False,
            )
        if failed:
            raise typer.Exit(EXIT_MISMATCH)


def _default_top(model: Path, is_identifier: Callable[[str], Any]) -> str:
    """The model file's name if it says something and is a legal name, else ``network``."""
    return model.stem if model.stem != "model" and is_identifier(model.stem) else "network"


def _pass_observer(print_graph: bool, print_time: bool) -> Callable[[PassStep, LutGraph], None] | None:
    if not (print_graph or print_time):
        return None

    def observe(step: PassStep, graph: LutGraph) -> None:
        if print_time:
            print(
                f"pass {step.name}: {step.seconds:.3f} s, {len(step.before)} to {len(step.after)} nets", file=sys.stderr
            )
        if print_graph:
            print(f"-- after {step.name}\n{graph}", file=sys.stderr)

    return observe


@app.command(epilog="Example: difflut verify build/demo/verilog")
def verify(
    out: Annotated[Path, typer.Argument(help="The output folder of a compile.")],
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Also compare with this model, the one that was compiled.")
    ] = None,
    simulator: Annotated[
        str | None, typer.Option(help="iverilog, verilator, ghdl or gcc; default: the first that is installed.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check the folder of a compile again: digests, proof, simulation."""
    with reporting_errors(debug):
        from difflut_compiler.compiled import read_report
        from difflut_compiler.recheck import recheck
        from difflut_compiler.report import print_rungs

        expected = seconds_of_compile(read_report(out), VERIFY_SHARES)
        with steps_shown(VERIFY_SHARES, error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            result = recheck(out, model, simulator, on_step=on_step)
        if as_json:
            print(json.dumps({"folder": str(out), "target": result.target, "rungs": list(map(asdict, result.rungs))}))
        else:
            print_rungs(result.rungs, output_console())
        if result.failed:
            fail(f"{out} does not hold what was compiled and proven; compile again", EXIT_MISMATCH)
        if result.out_of_reach:
            rungs = ", ".join(map(str, result.out_of_reach))
            fail(f"rungs that the certificate has cannot be checked here: {rungs}", EXIT_TOOL_MISSING)


@app.command(epilog="Example: difflut reload build/network_verilog other.pth -o other.hex")
def reload(
    out: Annotated[Path, typer.Argument(help="The output folder of a compile with --reloadable.")],
    model: Annotated[Path, typer.Argument(help="A model.pth of the same wiring and the same thresholds.")],
    image: Annotated[Path, typer.Option("--output", "-o", help="The file to write: a word per line, address 0 first.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the words that write another model's tables into hardware."""
    with reporting_errors(debug):
        from difflut_compiler.compiled import load_compiled
        from difflut_compiler.image import image_of_model
        from difflut_compiler.output import write_file
        from difflut_compiler.reload import image_text

        expected = graph_seconds([out])
        with steps_shown(RELOAD_SHARES, error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            on_step("read")
            compiled = load_compiled(out)
            on_step("make words")
            words = image_of_model(compiled, model)
            on_step("write")
            write_file(image, image_text(words))
        if as_json:
            print(json.dumps({"image": str(image), "words": len(words)}))
        else:
            output_console().print(f"Wrote {image}: {len(words)} words.", markup=False, soft_wrap=True)
