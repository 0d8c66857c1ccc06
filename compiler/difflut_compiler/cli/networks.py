"""``difflut info``, ``import`` and ``infer``: what a network is, and what it answers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difflut_compiler.cli.program import (
    EXIT_BAD_INPUT,
    Debug,
    Json,
    app,
    data_seconds,
    error_console,
    fail,
    find_model,
    output_console,
    print_table,
    reporting_errors,
)
from difflut_compiler.progress import IMPORT_BYTES_PER_SECOND, IMPORT_SHARES, INFER_SHARES, reading_seconds, steps_shown

if TYPE_CHECKING:
    from difflut.models import ModelFileInfo


@app.command(epilog="Example: difflut info build/digits/model.pth")
def info(
    model: Annotated[Path, typer.Argument(help="A model.pth, or the name of a pretrained model.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what a model file holds: encoder, input format, layers, LUTs, accuracy if it is known, digest."""
    with reporting_errors(debug):
        import difflut

        path = find_model(model)
        found = difflut.read_model_info(path)
        if as_json:
            print(json.dumps(found.to_dict()))
            return
        print_table(_describe_model(found))


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
    with reporting_errors(debug):
        from difflut_compiler.graph_file import graph_to_json
        from difflut_compiler.importers import ImportRequest, import_network
        from difflut_compiler.output import write_file

        target = out if out is not None else file.with_suffix(".json")
        if target.exists() and target.suffix != ".json":
            fail(f"{target} is there and no .json file; choose another name", EXIT_BAD_INPUT)
        expected = reading_seconds([file], IMPORT_BYTES_PER_SECOND)
        with steps_shown(IMPORT_SHARES, error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            on_step("read")
            graph = import_network(ImportRequest(file, "network", classes, wiring, parametrization, inputs))
            on_step("write")
            write_file(target, graph_to_json(graph))
        counts = {kind: graph.size().count_by_kind.get(kind, 0) for kind in ("input", "lut", "output")}
        if as_json:
            print(json.dumps({"graph": str(target), "count_by_kind": counts}))
            return
        output_console().print(
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
            help="Rows to answer for: a .csv file of features and perhaps the class, as in training; "
            "an .npz file with x and perhaps y; or digits."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file for the answers, a row each.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Number of threads; 0: as many as OpenMP likes.")] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a network on the CPU, bit-packed, and say how accurate it is."""
    with reporting_errors(debug):
        from difflut.data import load_samples
        from difflut_compiler.infer import CLASS_INDEX, format_predictions, load_predictor
        from difflut_compiler.output import write_file

        expected = data_seconds(data)
        with steps_shown(INFER_SHARES, error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            on_step("load")
            predictor = load_predictor(find_model(network))
            on_step("read data")
            samples = load_samples(data, predictor.features, predictor.class_names, label_column=predictor.label_column)
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
        output_console().print(f"{len(samples.features)} samples{right}, in {seconds:.3g} s{written}.", markup=False)
