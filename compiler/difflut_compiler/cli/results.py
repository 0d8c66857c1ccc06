"""``difflut synth``, ``report`` and ``plot``: what the hardware costs, for people to look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from difflut_compiler.cli.program import (
    Debug,
    Json,
    app,
    error_console,
    graph_seconds,
    output_console,
    reporting_errors,
)
from difflut_compiler.progress import (
    DRAWING_SECONDS,
    PLOT_SHARES,
    REPORT_SHARES,
    SYNTHESIS_SHARES,
    SYNTHESIS_TO_COMPILE,
    seconds_of_compile,
    steps_shown,
)


@app.command(epilog="Example: difflut synth build/demo/verilog --family ecp5")
def synth(
    out: Annotated[Path, typer.Argument(help="The output folder of a compile.")],
    family: Annotated[
        str, typer.Option("--family", "-f", help="ecp5, ice40, xilinx, xilinxultrascale, gowin or intel.")
    ],
    device: Annotated[
        str | None, typer.Option(help="A device of the family, e.g. 25k or hx8k; default: its largest.")
    ] = None,
    frequency: Annotated[float, typer.Option(help="Clock frequency in MHz that place and route aims at.")] = 200.0,
    seed: Annotated[int, typer.Option(help="Where placement starts; results of other seeds differ a little.")] = 1,
    place: Annotated[bool, typer.Option("--place/--no-place", help="Place and route, if there is a tool.")] = True,
    read_reports: Annotated[
        bool, typer.Option("--read-reports", help="Only read what Vivado or Quartus reported in the project here.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Synthesise compiled hardware."""
    with reporting_errors(debug):
        from difflut_compiler.compiled import load_compiled
        from difflut_compiler.output import SYNTHESIS_FOLDER
        from difflut_compiler.page import write_page
        from difflut_compiler.synth import SynthesisRequest, read_vendor_reports, synthesise_network
        from difflut_compiler.synth.show import print_synthesis

        request = SynthesisRequest(family, device, frequency, seed, place)
        known_family, compiled = request.check(), load_compiled(out)
        if read_reports:
            result = read_vendor_reports(compiled, known_family)
        else:
            shares = {step: SYNTHESIS_SHARES[step] for step in request.steps()}
            expected = SYNTHESIS_TO_COMPILE * seconds_of_compile(compiled.report) * len(shares)
            with steps_shown(shares, error_console(), quiet=as_json, expected_seconds=expected) as on_step:
                result = synthesise_network(compiled, request, on_step=on_step)
        write_page(compiled)
        if as_json:
            print(result.to_json(), end="")
            return
        console = output_console()
        print_synthesis(result, console)
        if compiled.report["lut_inputs"] > known_family.lut_inputs:
            wanted, own = compiled.report["lut_inputs"], known_family.lut_inputs
            console.print(
                f"The network was compiled for LUTs of {wanted} inputs; for this family's of {own}, compile it with "
                f"--lut-inputs {own}.",
                markup=False,
            )
        console.print(f"Wrote {out / SYNTHESIS_FOLDER / family}, and report.html anew.", markup=False)


@app.command("report", epilog="Example: difflut report build/demo/verilog --open")
def report_command(
    out: Annotated[Path, typer.Argument(help="The output folder of a compile.")],
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the report of a compile anew, with the results of synthesis."""
    with reporting_errors(debug):
        from difflut_compiler.compiled import load_compiled
        from difflut_compiler.output import REPORT_PAGE
        from difflut_compiler.page import write_page

        expected = graph_seconds([out])
        with steps_shown(REPORT_SHARES, error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            on_step("read")
            compiled = load_compiled(out)
            on_step("write")
            write_page(compiled)
        if as_json:
            print(json.dumps({**compiled.report, "certificate": compiled.certificate}))
        else:
            output_console().print(f"Wrote {out / REPORT_PAGE}.", markup=False, soft_wrap=True)
        if show:
            typer.launch(str((out / REPORT_PAGE).absolute()))


@app.command(epilog="Example: difflut plot curves build/demo/model -o curves.svg")
def plot(
    kind: Annotated[str, typer.Argument(help="curves, accuracy or tables.")],
    folders: Annotated[
        list[Path], typer.Argument(help="For curves, folders of trainings; else output folders of compiles.")
    ],
    out: Annotated[Path, typer.Option("--output", "-o", help="The .png or .svg file to write.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Plot training curves, accuracy or tables."""
    with reporting_errors(debug):
        from difflut_compiler.plots import write_plot

        expected = DRAWING_SECONDS + graph_seconds(folders)
        with steps_shown(PLOT_SHARES, error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            on_step("read and draw")
            write_plot(kind, folders, out)
        if as_json:
            print(json.dumps({"kind": kind, "plot": str(out)}))
        else:
            output_console().print(f"Wrote {out}.", markup=False)
