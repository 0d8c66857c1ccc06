"""The command line: ``difflut train``, ``difflut compile`` and lists of what there is.

Exit codes: 0 fine, 1 a check found a difference, 2 wrong usage or bad input, 3 a tool is missing; 70 a fault of DiffLUT
itself, 130 interrupted. Nothing heavy is imported before a command needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from difflut_compiler.progress import (
    COMPILE_SHARES,
    DATA_BYTES_PER_SECOND,
    DRAWING_SECONDS,
    GRAPH_BYTES_PER_SECOND,
    IMPORT_BYTES_PER_SECOND,
    IMPORT_SHARES,
    INFER_SHARES,
    PLOT_SHARES,
    PUBLISH_SHARES,
    RELOAD_SHARES,
    REPORT_SHARES,
    SYNTHESIS_SHARES,
    SYNTHESIS_TO_COMPILE,
    VERIFY_SHARES,
    reading_seconds,
    seconds_of_compile,
    steps_shown,
    training_shown,
    trials_shown,
)

if TYPE_CHECKING:
    from difflut.models import ModelFileInfo
    from difflut_compiler.graph import LutGraph
    from difflut_compiler.passes import PassStep

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="difflut",
    help="Train networks of look-up tables and compile them into proven FPGA logic.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT_SETTINGS,
)
LISTS = "What there is"
EXIT_MISMATCH = 1
PIPED_WIDTH = 100
EXIT_BAD_INPUT = 2
EXIT_TOOL_MISSING = 3
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output, nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        import difflut

        print(f"difflut {difflut.__version__}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train networks of look-up tables and compile them into proven FPGA logic."""


@app.command(epilog="Example: difflut train examples/digits.yaml -o build/digits")
def train(
    config: Annotated[Path, typer.Argument(help="YAML file with the sections data, model and training.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder for model.pth, metrics.json and last.ckpt.")],
    data: Annotated[
        Path | None, typer.Option(help="Data file to use instead of the one that the configuration names.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the last finished epoch in the folder.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a network."""
    with _reporting_errors(debug):
        import difflut
        from difflut.training import is_main_process

        settings = difflut.load_training_config(config)
        console = _error_console() if as_json else _output_console()
        shows = is_main_process()  # of those that torchrun started, one speaks for all
        with training_shown(console, quiet=as_json or not shows) as (on_step, on_epoch):
            result = difflut.train(settings, out, data_path=data, resume=resume, on_step=on_step, on_epoch=on_epoch)
        figures = {name: str(value) if isinstance(value, Path) else value for name, value in vars(result).items()}
        if not shows:
            return
        if as_json:
            print(json.dumps(figures))
            return
        _output_console().print(
            f"best epoch {result.best_epoch} of {result.epochs}: eval-mode accuracy {result.train_accuracy:.2%} train, "
            f"{result.validation_accuracy:.2%} validation, [bold]{result.test_accuracy:.2%} test[/bold]; "
            f"{result.seconds:.0f} s; {result.model_path}"
        )


@app.command(epilog="Example: difflut publish build/digits/model.pth --name my_digits --data digits")
def publish(
    model: Annotated[Path, typer.Argument(help="The trained model.pth.")],
    name: Annotated[str, typer.Option(help="What the pretrained model is called.")],
    data: Annotated[str, typer.Option(help="Test data for its stated accuracy: digits, or an .npz or .csv file.")],
    out: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of pretrained models; ./pretrained is searched by default.")
    ] = Path("pretrained"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a pretrained model from a trained one."""
    with _reporting_errors(debug):
        import difflut
        from difflut_compiler.frontend import load_dataset
        from difflut_compiler.names import IDENTIFIER

        if not IDENTIFIER.fullmatch(name):
            _fail(f"the name {name!r} is not made of letters, digits and underscores", EXIT_BAD_INPUT)
        expected = _data_seconds(data)
        with steps_shown(PUBLISH_SHARES, _error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            on_step("load")
            trained, dataset = difflut.load_model(model), load_dataset(data)
            on_step("measure and write")
            config = difflut.publish_model(trained, name, dataset, out)
        published = difflut.get_pretrained_model_info(name, out)
        figures = {
            "config": str(config),
            "weights": str(published["weights_path"]),
            "bytes": published["weights_path"].stat().st_size,
            "test_accuracy": published["metadata"]["test_accuracy"],
        }
        if as_json:
            print(json.dumps(figures))
            return
        _output_console().print(
            f"Wrote {config} and {figures['weights']}, {figures['bytes']} bytes: "
            f"{figures['test_accuracy']:.2%} of the test data.",
            markup=False,
        )


@app.command(epilog="Example: difflut info build/digits/model.pth")
def info(
    model: Annotated[Path, typer.Argument(help="A model.pth, or the name of a pretrained model.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what a model file holds: encoder, input format, layers, LUTs, accuracy if it is known, digest."""
    with _reporting_errors(debug):
        import difflut

        path = _find_model(model)
        found = difflut.read_model_info(path)
        if as_json:
            print(json.dumps(found.to_dict()))
            return
        _print_table(_describe_model(found))


def _find_model(model: Path) -> Path:
    """The path as it is, or if there is no such file, the pretrained model of this name."""
    from difflut.models.published import get_pretrained_model_info, list_pretrained_models

    names = [] if model.is_file() else [name for group in list_pretrained_models().values() for name in group]
    weights = get_pretrained_model_info(str(model))["weights_path"] if str(model) in names else None
    return model if weights is None else Path(weights)


def _describe_model(found: ModelFileInfo) -> dict[str, str]:
    encoder, word = dict(found.encoder), found.input_format
    rows = {
        "file": f"{found.path}, {found.size_bytes:,} bytes, SHA-256 {found.sha256}",
        "model": f"{found.model_type}, {found.parameters:,} trained numbers",
        "input": f"{found.input_size} features, {'signed' if word.signed else 'unsigned'} words of {word.bits} bits, "
        f"the lowest bit worth {word.scale:g}",
        "encoder": f"{encoder.pop('name')}{_describe_settings(encoder)}: {found.encoded_bits} bits",
    }
    for layer in found.layers:
        inputs = ", ".join(map(str, layer.lut_inputs))
        shared = f" from {layer.tables} trained tables" if layer.tables != layer.luts else ""
        rows[layer.name] = f"{layer.luts} LUTs of {inputs} inputs{shared}: {layer.layer} of {layer.node}"
    rows["LUTs"] = f"{found.luts}, before the compiler's passes and without encoder, sums and argmax"
    rows["classes"] = f"{len(found.class_names)}: {', '.join(found.class_names)}"
    rows["runtime"] = _describe_settings(found.runtime).strip() or "as by default"
    rows["accuracy"] = _describe_accuracy(found.metadata)
    return rows


def _describe_settings(settings: dict[str, Any]) -> str:
    return "".join(f" {name} {value}" for name, value in settings.items())


def _describe_accuracy(metadata: dict[str, Any]) -> str:
    accuracy, samples = metadata.get("test_accuracy"), metadata.get("test_samples")
    if not isinstance(accuracy, int | float):
        return "not in the file; difflut publish measures it and writes it down"
    return f"{accuracy:.2%} of {samples if isinstance(samples, int) else 'the'} test samples, as stated in the file"


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
    with _reporting_errors(debug):
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
            target,
            top,
            pipeline,
            data,
            simulator,
            count_luts,
            Interface(interface, stream_width, clock_enable, reset, reloadable),
            scores,
            lut_inputs,
            encoder_budget,
            lut_budget,
        )
        observer = _pass_observer(print_between_passes, time_passes)
        with steps_shown(COMPILE_SHARES, _error_console(), quiet=as_json) as on_step:
            result = compile_model(request, on_step=on_step, observer=observer)
        failed = result.certificate.failed
        written = find_target(target).folder
        write_output(folder, {} if failed else {written: result.plan.all_files}, documents(result))
        if as_json:
            print(json.dumps({**report(result), "certificate": json.loads(result.certificate.to_json())}))
        else:
            console = _output_console()
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
    with _reporting_errors(debug):
        from difflut_compiler.compiled import read_report
        from difflut_compiler.recheck import recheck
        from difflut_compiler.report import print_rungs

        expected = seconds_of_compile(read_report(out), VERIFY_SHARES)
        with steps_shown(VERIFY_SHARES, _error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            result = recheck(out, model, simulator, on_step=on_step)
        if as_json:
            print(json.dumps({"folder": str(out), "target": result.target, "rungs": list(map(asdict, result.rungs))}))
        else:
            print_rungs(result.rungs, _output_console())
        if result.failed:
            _fail(f"{out} does not hold what was compiled and proven; compile again", EXIT_MISMATCH)
        if result.out_of_reach:
            rungs = ", ".join(map(str, result.out_of_reach))
            _fail(f"rungs that the certificate has cannot be checked here: {rungs}", EXIT_TOOL_MISSING)


@app.command(epilog="Example: difflut reload build/network_verilog other.pth -o other.hex")
def reload(
    out: Annotated[Path, typer.Argument(help="The output folder of a compile with --reloadable.")],
    model: Annotated[Path, typer.Argument(help="A model.pth of the same wiring and the same thresholds.")],
    image: Annotated[Path, typer.Option("--output", "-o", help="The file to write: a word per line, address 0 first.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the words that write another model's tables into hardware."""
    with _reporting_errors(debug):
        from difflut_compiler.compiled import load_compiled
        from difflut_compiler.image import image_of_model
        from difflut_compiler.output import write_file
        from difflut_compiler.reload import image_text

        expected = _graph_seconds([out])
        with steps_shown(RELOAD_SHARES, _error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            on_step("read")
            compiled = load_compiled(out)
            on_step("make words")
            words = image_of_model(compiled, model)
            on_step("write")
            write_file(image, image_text(words))
        if as_json:
            print(json.dumps({"image": str(image), "words": len(words)}))
        else:
            _output_console().print(f"Wrote {image}: {len(words)} words.", markup=False, soft_wrap=True)


@app.command("report", epilog="Example: difflut report build/demo/verilog --open")
def report_command(
    out: Annotated[Path, typer.Argument(help="The output folder of a compile.")],
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the report of a compile anew, with the results of synthesis."""
    with _reporting_errors(debug):
        from difflut_compiler.compiled import load_compiled
        from difflut_compiler.output import REPORT_PAGE
        from difflut_compiler.page import write_page

        expected = _graph_seconds([out])
        with steps_shown(REPORT_SHARES, _error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            on_step("read")
            compiled = load_compiled(out)
            on_step("write")
            write_page(compiled)
        if as_json:
            print(json.dumps({**compiled.report, "certificate": compiled.certificate}))
        else:
            _output_console().print(f"Wrote {out / REPORT_PAGE}.", markup=False, soft_wrap=True)
        if show:
            typer.launch(str((out / REPORT_PAGE).absolute()))


@app.command("import", epilog="Example: difflut import network.blif -o network.json")
def import_command(
    file: Annotated[
        Path,
        typer.Argument(help="A .blif, .aag or .aig file, or a checkpoint of torch-dwn, torchlogix, difflogic, llnn."),
    ],
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Graph file to write; default: NAME.json beside the file.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Count the last layer's bits as votes for this many classes.")
    ] = None,
    wiring: Annotated[
        Path | None,
        typer.Option(help="What difflogic and llnn do not save: arrays LAYER.indices in an .npz file."),
    ] = None,
    parametrization: Annotated[
        str | None, typer.Option(help="Of torchlogix: raw, warp or light, where the shapes leave it open.")
    ] = None,
    inputs: Annotated[int | None, typer.Option(help="Number of input bits, if the last ones are not read.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Turn another tool's network into a graph, which difflut compile takes like a model."""
    with _reporting_errors(debug):
        from difflut_compiler.graph_file import graph_to_json
        from difflut_compiler.importers import ImportRequest, import_network
        from difflut_compiler.output import write_file

        target = out if out is not None else file.with_suffix(".json")
        if target.exists() and target.suffix != ".json":
            _fail(f"{target} is there and no .json file; choose another name", EXIT_BAD_INPUT)
        expected = reading_seconds([file], IMPORT_BYTES_PER_SECOND)
        with steps_shown(IMPORT_SHARES, _error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            on_step("read")
            graph = import_network(ImportRequest(file, "network", classes, wiring, parametrization, inputs))
            on_step("write")
            write_file(target, graph_to_json(graph))
        counts = {kind: graph.size().count_by_kind.get(kind, 0) for kind in ("input", "lut", "output")}
        if as_json:
            print(json.dumps({"graph": str(target), "count_by_kind": counts}))
            return
        _output_console().print(
            f"Wrote {target}: {counts['input']} inputs, {counts['lut']} look-up tables, {counts['output']} outputs.",
            markup=False,
        )


@app.command(epilog="Example: difflut infer build/digits/model.pth --data digits -o predictions.csv")
def infer(
    network: Annotated[
        Path, typer.Argument(help="A trained model.pth, the output folder of a compile, or a graph.json.")
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Rows to answer for: a .csv file of features, the class last if it is known, an .npz file with x and "
            "perhaps y, or digits."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file for the answers, a row each.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Number of threads; 0: as many as OpenMP likes.")] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a network on the CPU, bit-packed, and say how accurate it is."""
    with _reporting_errors(debug):
        from difflut.data import load_samples
        from difflut_compiler.infer import CLASS_INDEX, format_predictions, load_predictor
        from difflut_compiler.output import write_file

        expected = _data_seconds(data)
        with steps_shown(INFER_SHARES, _error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            on_step("load")
            predictor = load_predictor(_find_model(network))
            on_step("read data")
            samples = load_samples(data, predictor.features, predictor.class_names)
            on_step("run")
            start = time.perf_counter()
            outputs = predictor.predict(samples.features.numpy(), threads)
            seconds = time.perf_counter() - start
            if out is not None:
                on_step("write")
                write_file(out, format_predictions(outputs))
        accuracy = None
        if samples.labels is not None and CLASS_INDEX in outputs:
            accuracy = float((outputs[CLASS_INDEX] == samples.labels.numpy()).mean())
        if as_json:
            answers = {name: values.tolist() for name, values in outputs.items()} if out is None else str(out)
            figures = {"samples": len(samples.features), "accuracy": accuracy, "seconds": seconds, "outputs": answers}
            print(json.dumps(figures))
            return
        right = "" if accuracy is None else f", {accuracy:.2%} of them right"
        written = "" if out is None else f"; wrote {out}"
        _output_console().print(f"{len(samples.features)} samples{right}, in {seconds:.3g} s{written}.", markup=False)


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
    with _reporting_errors(debug):
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
            with steps_shown(shares, _error_console(), quiet=as_json, expected_seconds=expected) as on_step:
                result = synthesise_network(compiled, request, on_step=on_step)
        write_page(compiled)
        if as_json:
            print(result.to_json(), end="")
            return
        console = _output_console()
        print_synthesis(result, console)
        if compiled.report["lut_inputs"] > known_family.lut_inputs:
            wanted, own = compiled.report["lut_inputs"], known_family.lut_inputs
            console.print(
                f"The network was compiled for LUTs of {wanted} inputs; for this family's of {own}, compile it with "
                f"--lut-inputs {own}.",
                markup=False,
            )
        console.print(f"Wrote {out / SYNTHESIS_FOLDER / family}, and report.html anew.", markup=False)


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
    with _reporting_errors(debug):
        from difflut_compiler.plots import write_plot

        expected = DRAWING_SECONDS + _graph_seconds(folders)
        with steps_shown(PLOT_SHARES, _error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            on_step("read and draw")
            write_plot(kind, folders, out)
        if as_json:
            print(json.dumps({"kind": kind, "plot": str(out)}))
        else:
            _output_console().print(f"Wrote {out}.", markup=False)


@app.command(epilog="Example: difflut sweep examples/sweeps/digits.yaml -o build/sweep")
def sweep(
    space: Annotated[Path, typer.Argument(help="YAML file with base, a training configuration, and space.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder for the trials and results.json.")],
    storage: Annotated[
        str | None,
        typer.Option(
            help="Database that workers on several machines share, e.g. postgresql+psycopg://host/name; by default a "
            "file."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the sweep in the database.")] = "sweep",
    data: Annotated[Path | None, typer.Option(help="Data file to use instead of the configuration's.")] = None,
    heartbeat: Annotated[
        int, typer.Option(help="Seconds between signs of life; a worker counts as dead after three times that.")
    ] = 10,
    ray_workers: Annotated[
        int | None, typer.Option(min=1, help="Have a Ray cluster start so many workers; default: work here.")
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="The cluster's address, or auto; by default one is started on this machine for the sweep."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train many networks over a space of configurations; the same command goes on, or helps as another worker."""
    with _reporting_errors(debug):
        if find_spec("optuna") is None:
            _fail("optuna is not installed: pip install 'difflut[sweep]'", EXIT_TOOL_MISSING)
        if ray_address is not None and ray_workers is None:
            _fail("--ray-address says where, but not how many workers; add --ray-workers", EXIT_BAD_INPUT)
        from difflut_compiler.sweep import (
            SweepRequest,
            print_sweep,
            read_sweep,
            run_sweep,
            run_sweep_on_ray,
            write_sweep,
        )

        request = SweepRequest(read_sweep(space), out, storage, name, data, heartbeat)
        with trials_shown(_error_console() if as_json else _output_console(), quiet=as_json) as (on_trial, on_part):
            if ray_workers is None:
                result = run_sweep(request, on_trial=on_trial, on_part=on_part)
            else:
                result = run_sweep_on_ray(request, ray_workers, ray_address, on_trial=on_trial)
        written = write_sweep(result, out)
        if as_json:
            print(json.dumps(result.to_dict()))
            return
        console = _output_console()
        print_sweep(result, console)
        names = ", ".join(map(str, written))
        console.print(f"Wrote {names}; models are in {out}/trial-NUMBER-*/model.pth.", markup=False, soft_wrap=True)


def _data_seconds(data: str) -> float:
    """How long reading the data may take; 0 for those that are no file."""
    path = Path(data)
    return reading_seconds([path], DATA_BYTES_PER_SECOND.get(path.suffix.lower(), math.inf))


def _graph_seconds(folders: list[Path]) -> float:
    """How long work on the graphs in the output folders of compiles may take."""
    from difflut_compiler.output import GRAPH_FILE

    return reading_seconds((folder / GRAPH_FILE for folder in folders), GRAPH_BYTES_PER_SECOND)


def _default_top(model: Path, is_identifier: Callable[[str], Any]) -> str:
    """The model file's name if it says something and is a legal name, else ``network``."""
    return model.stem if model.stem != "model" and is_identifier(model.stem) else "network"


@app.command(epilog="Example: difflut nodes --json", rich_help_panel=LISTS)
def nodes(as_json: Json = False) -> None:
    """List the node types that can be trained."""
    with _reporting_errors(debug=False):
        from difflut import REGISTRY

        _print_list({name: _first_line(REGISTRY.get_node(name)) for name in REGISTRY.list_nodes()}, as_json)


@app.command(epilog="Example: difflut layers --json", rich_help_panel=LISTS)
def layers(as_json: Json = False) -> None:
    """List the layer types."""
    with _reporting_errors(debug=False):
        from difflut import REGISTRY

        rows = {name: _first_line(REGISTRY.get_layer(name)) for name in REGISTRY.list_layers()}
        for name in REGISTRY.list_convolutional_layers():
            rows[name] = _first_line(REGISTRY.get_convolutional_layer(name))
        _print_list(rows, as_json)


@app.command(epilog="Example: difflut encoders --json", rich_help_panel=LISTS)
def encoders(as_json: Json = False) -> None:
    """List the encoders."""
    with _reporting_errors(debug=False):
        from difflut import REGISTRY

        rows = {name: _first_line(REGISTRY.get_encoder(name)) for name in REGISTRY.list_encoders()}
        _print_list(rows, as_json)


@app.command(epilog="Example: difflut models --json", rich_help_panel=LISTS)
def models(as_json: Json = False) -> None:
    """List the kinds of models."""
    with _reporting_errors(debug=False):
        from difflut import REGISTRY

        _print_list({name: _first_line(REGISTRY.get_model(name)) for name in REGISTRY.list_models()}, as_json)


@app.command(epilog="Example: difflut initializers --json", rich_help_panel=LISTS)
def initializers(as_json: Json = False) -> None:
    """List the initialisers, which set the start values of nodes."""
    with _reporting_errors(debug=False):
        from difflut import REGISTRY

        rows = {name: _first_line(REGISTRY.get_initializer(name)) for name in REGISTRY.list_initializers()}
        _print_list(rows, as_json)


@app.command(epilog="Example: difflut regularizers --json", rich_help_panel=LISTS)
def regularizers(as_json: Json = False) -> None:
    """List the regularisers, which training keeps small."""
    with _reporting_errors(debug=False):
        from difflut import REGISTRY

        rows = {name: _first_line(REGISTRY.get_regularizer(name)) for name in REGISTRY.list_regularizers()}
        _print_list(rows, as_json)


@app.command(epilog="Example: difflut passes --json", rich_help_panel=LISTS)
def passes(as_json: Json = False) -> None:
    """List the passes of the compiler, in the order in which they run."""
    with _reporting_errors(debug=False):
        from difflut_compiler.passes import PASSES

        _print_list({name: _first_line(type(one)) for name, one in PASSES.items()}, as_json)


@app.command(epilog="Example: difflut targets --json", rich_help_panel=LISTS)
def targets(as_json: Json = False) -> None:
    """List the target languages."""
    with _reporting_errors(debug=False):
        from difflut_compiler.targets import TARGETS

        _print_list({name: _first_line(type(one)) for name, one in TARGETS.items()}, as_json)


@app.command(epilog="Example: difflut tools --json", rich_help_panel=LISTS)
def tools(as_json: Json = False) -> None:
    """List what runs: the kernels of the training rules, the external tools, and how to get what is missing."""
    with _reporting_errors(debug=False):
        from difflut.kernels import describe
        from difflut_compiler.packed import describe as describe_packed
        from difflut_compiler.verify.tools import INSTALL_HINTS, find_tool, tool_version

        def state(name: str) -> str:
            return tool_version(name) if find_tool(name) else f"not installed: {INSTALL_HINTS[name]}"

        rows = {"kernels": str(describe()), "gpu kernels": str(describe("cuda")), "inference": describe_packed()}
        _print_list({**rows, **{name: state(name) for name in INSTALL_HINTS}}, as_json)


def _first_line(thing: object) -> str:
    """What a class or function says about itself; nothing if it says nothing, as a user's own may."""
    return (thing.__doc__ or "").strip().partition("\n")[0]


def _print_list(rows: dict[str, str], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows))
    else:
        _print_table(rows)


def _print_table(rows: dict[str, str]) -> None:
    table = Table(show_header=False, box=None)
    for name, text in rows.items():
        table.add_row(f"[bold]{escape(name)}[/bold]", escape(text))
    _output_console().print(table)


@contextmanager
def _reporting_errors(debug: bool) -> Iterator[None]:
    """Turn an error that speaks to the user into one sentence and its exit code."""
    from difflut.errors import DifflutError
    from difflut_compiler.errors import CompilerError

    try:
        yield
    except (DifflutError, CompilerError) as error:
        if debug:
            traceback.print_exc()
        _fail(str(error), error.exit_code if isinstance(error, CompilerError) else EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        _fail("interrupted; what was finished before is still there", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(EXIT_BAD_INPUT) from None
    except OSError as error:
        if debug:
            traceback.print_exc()
        _fail(f"{error.filename or 'a file'}: {error.strerror}", EXIT_BAD_INPUT)


def _fail(message: str, exit_code: int) -> NoReturn:
    _error_console().print(f"[bold red]error:[/bold red] {escape(message)}", soft_wrap=True)
    raise typer.Exit(exit_code)


def _error_console() -> Console:
    """Standard error, for errors and progress: standard output holds results."""
    return Console(stderr=True, highlight=False)


def _output_console() -> Console:
    """Standard output; as wide as the terminal, or as a line of text where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPED_WIDTH)


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


def main() -> None:
    """Entry point of ``difflut``."""
    _run(app)


def compile_main() -> None:
    """Entry point of ``difflut-compile``: ``difflut compile`` under a name of its own."""
    _run_alone(compile_command, "difflut-compile")


def train_main() -> None:
    """Entry point of ``difflut-train``: ``difflut train`` under a name of its own."""
    _run_alone(train, "difflut-train")


def _run_alone(command: Callable[..., None], name: str) -> None:
    (info,) = (info for info in app.registered_commands if info.callback is command)
    alone = typer.Typer(name=name, pretty_exceptions_enable=False, context_settings=CONTEXT_SETTINGS)
    alone.command(epilog=info.epilog)(command)
    _run(alone)


def _run(program: typer.Typer) -> None:
    """Run a command line; SIGTERM ends it as Ctrl-C does, and a fault of ours has an exit code of its own."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        program()
    except KeyboardInterrupt:  # before a command began
        sys.exit(EXIT_INTERRUPTED)
    except Exception:  # noqa: BLE001 - the last door: whatever comes here is shown, whole, and is a fault of ours
        traceback.print_exc()
        print("error: this is a fault of DiffLUT itself; please report it with the lines above", file=sys.stderr)
        sys.exit(EXIT_INTERNAL)
