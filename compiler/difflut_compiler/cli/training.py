"""``difflut train``, ``sweep`` and ``publish``: where networks come from."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from difflut_compiler.cli.program import (
    EXIT_BAD_INPUT,
    EXIT_TOOL_MISSING,
    Debug,
    Json,
    app,
    data_seconds,
    error_console,
    fail,
    output_console,
    reporting_errors,
)
from difflut_compiler.progress import PUBLISH_SHARES, steps_shown, training_shown, trials_shown


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
    with reporting_errors(debug):
        import difflut
        from difflut.training import is_main_process

        settings = difflut.load_training_config(config)
        console = error_console() if as_json else output_console()
        shows = is_main_process()  # of those that torchrun started, one speaks for all
        with training_shown(console, quiet=as_json or not shows) as (on_step, on_epoch):
            result = difflut.train(settings, out, data_path=data, resume=resume, on_step=on_step, on_epoch=on_epoch)
        figures = {name: str(value) if isinstance(value, Path) else value for name, value in vars(result).items()}
        if not shows:
            return
        if as_json:
            print(json.dumps(figures))
            return
        output_console().print(
            f"best epoch {result.best_epoch} of {result.epochs}: eval-mode accuracy {result.train_accuracy:.2%} train, "
            f"{result.validation_accuracy:.2%} validation, [bold]{result.test_accuracy:.2%} test[/bold]; "
            f"{result.seconds:.0f} s; {result.model_path}"
        )


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
    with reporting_errors(debug):
        if find_spec("optuna") is None:
            fail("optuna is not installed: pip install 'difflut[sweep]'", EXIT_TOOL_MISSING)
        if ray_address is not None and ray_workers is None:
            fail("--ray-address says where, but not how many workers; add --ray-workers", EXIT_BAD_INPUT)
        from difflut_compiler.sweep import (
            SweepRequest,
            print_sweep,
            read_sweep,
            run_sweep,
            run_sweep_on_ray,
            write_sweep,
        )

        request = SweepRequest(read_sweep(space), out, storage, name, data, heartbeat)
        with trials_shown(error_console() if as_json else output_console(), quiet=as_json) as (on_trial, on_part):
            if ray_workers is None:
                result = run_sweep(request, on_trial=on_trial, on_part=on_part)
            else:
                result = run_sweep_on_ray(request, ray_workers, ray_address, on_trial=on_trial)
        written = write_sweep(result, out)
        if as_json:
            print(json.dumps(result.to_dict()))
            return
        console = output_console()
        print_sweep(result, console)
        names = ", ".join(map(str, written))
        console.print(f"Wrote {names}; models are in {out}/trial-NUMBER-*/model.pth.", markup=False, soft_wrap=True)


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
    with reporting_errors(debug):
        import difflut
        from difflut_compiler.frontend import load_dataset
        from difflut_compiler.names import IDENTIFIER

        if not IDENTIFIER.fullmatch(name):
            fail(f"the name {name!r} is not made of letters, digits and underscores", EXIT_BAD_INPUT)
        expected = data_seconds(data)
        with steps_shown(PUBLISH_SHARES, error_console(), quiet=as_json, expected_seconds=expected) as on_step:
            on_step("load")
            trained = difflut.load_model(model)
            dataset = load_dataset(data, trained)
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
        output_console().print(
            f"Wrote {config} and {figures['weights']}, {figures['bytes']} bytes: "
            f"{figures['test_accuracy']:.2%} of the test data.",
            markup=False,
        )
