"""The lists of what there is: ``difflut nodes``, ``encoders``, ``passes``, ``targets``, ``tools`` and so on."""

from __future__ import annotations

import json

from difflut_compiler.cli.program import Json, app, print_table, reporting_errors

LISTS = "What there is"


@app.command(epilog="Example: difflut nodes --json", rich_help_panel=LISTS)
def nodes(as_json: Json = False) -> None:
    """List the node types that can be trained."""
    with reporting_errors(debug=False):
        from difflut import REGISTRY

        _print_list({name: _first_line(REGISTRY.get_node(name)) for name in REGISTRY.list_nodes()}, as_json)


@app.command(epilog="Example: difflut layers --json", rich_help_panel=LISTS)
def layers(as_json: Json = False) -> None:
    """List the layer types."""
    with reporting_errors(debug=False):
        from difflut import REGISTRY

        rows = {name: _first_line(REGISTRY.get_layer(name)) for name in REGISTRY.list_layers()}
        for name in REGISTRY.list_convolutional_layers():
            rows[name] = _first_line(REGISTRY.get_convolutional_layer(name))
        _print_list(rows, as_json)


@app.command(epilog="Example: difflut encoders --json", rich_help_panel=LISTS)
def encoders(as_json: Json = False) -> None:
    """List the encoders."""
    with reporting_errors(debug=False):
        from difflut import REGISTRY

        rows = {name: _first_line(REGISTRY.get_encoder(name)) for name in REGISTRY.list_encoders()}
        _print_list(rows, as_json)


@app.command(epilog="Example: difflut models --json", rich_help_panel=LISTS)
def models(as_json: Json = False) -> None:
    """List the kinds of models."""
    with reporting_errors(debug=False):
        from difflut import REGISTRY

        _print_list({name: _first_line(REGISTRY.get_model(name)) for name in REGISTRY.list_models()}, as_json)


@app.command(epilog="Example: difflut initializers --json", rich_help_panel=LISTS)
def initializers(as_json: Json = False) -> None:
    """List the initialisers, which set the start values of nodes."""
    with reporting_errors(debug=False):
        from difflut import REGISTRY

        rows = {name: _first_line(REGISTRY.get_initializer(name)) for name in REGISTRY.list_initializers()}
        _print_list(rows, as_json)


@app.command(epilog="Example: difflut regularizers --json", rich_help_panel=LISTS)
def regularizers(as_json: Json = False) -> None:
    """List the regularisers, which training keeps small."""
    with reporting_errors(debug=False):
        from difflut import REGISTRY

        rows = {name: _first_line(REGISTRY.get_regularizer(name)) for name in REGISTRY.list_regularizers()}
        _print_list(rows, as_json)


@app.command(epilog="Example: difflut passes --json", rich_help_panel=LISTS)
def passes(as_json: Json = False) -> None:
    """List the passes of the compiler, in the order in which they run."""
    with reporting_errors(debug=False):
        from difflut_compiler.passes import PASSES

        _print_list({name: _first_line(type(one)) for name, one in PASSES.items()}, as_json)


@app.command(epilog="Example: difflut targets --json", rich_help_panel=LISTS)
def targets(as_json: Json = False) -> None:
    """List the target languages."""
    with reporting_errors(debug=False):
        from difflut_compiler.targets import TARGETS

        _print_list({name: _first_line(type(one)) for name, one in TARGETS.items()}, as_json)


@app.command(epilog="Example: difflut tools --json", rich_help_panel=LISTS)
def tools(as_json: Json = False) -> None:
    """List what runs: the kernels of the training rules, the external tools, and how to get what is missing."""
    with reporting_errors(debug=False):
        from difflut.kernels import describe
        from difflut_compiler.packed import describe as describe_packed
        from difflut_compiler.tools import INSTALL_HINTS, find_tool, tool_version

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
        print_table(rows)
