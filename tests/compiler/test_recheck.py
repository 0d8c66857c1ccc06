"""``difflut verify`` and ``difflut report``: a folder that is as it was, and folders that somebody changed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from difflut import save_model
from difflut_compiler import vectors
from difflut_compiler.emit import BuildPlan
from difflut_compiler.targets import TARGETS
from tests.compiler.designs import HDL_TARGETS
from tests.compiler.models import make_model
from tests.compiler.needs import need
from tests.compiler.test_compile import NOT_CHECKED, hide, refused, run  # noqa: F401 - hide is a fixture

PLACES = {name: target.folder for name, target in TARGETS.items()}
TOOLS = {"verilog": "iverilog", "systemverilog": "iverilog", "vhdl": "ghdl", "c": "gcc"}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pth"
    save_model(make_model(features=3, layer_widths=[8, 9]), path)
    return path


@pytest.fixture(scope="module")
def compiled(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The output folder for a target, compiled once."""
    folders: dict[str, Path] = {}

    def compile_for(target: str) -> Path:
        if target in TOOLS:
            need(TOOLS[target])
        if target not in folders:
            folders[target] = tmp_path_factory.mktemp(target) / "out"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(vectors, "RANDOM_SAMPLES", 60)
                code, _, error = run("compile", model_file, "-t", target, "-o", folders[target], "--no-count-luts")
            assert code == 0, error
        return folders[target]

    return compile_for


@pytest.fixture
def copy(compiled: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A copy of a compiled folder for one test."""
    monkeypatch.setattr(vectors, "RANDOM_SAMPLES", 60)
    return lambda target: Path(shutil.copytree(compiled(target), tmp_path / "out"))


def verify(folder: Path, *options: str | Path) -> tuple[int, dict[int, str], dict[int, str]]:
    """Exit code, status of every rung, reason of every rung."""
    code, output, error = run("verify", folder, *options, "--json")
    assert output, error
    rungs = json.loads(output)["rungs"]
    return code, {one["id"]: one["status"] for one in rungs}, {one["id"]: one["reason"] for one in rungs}


def replace_digest(folder: Path, name: str, digest: str) -> None:
    """As somebody would who wants the folder to look as if it had been compiled so."""
    for document in ("certificate.json", "report.json"):
        content = json.loads((folder / document).read_text())
        (folder / document).write_text(json.dumps({**content, name: digest}))


def plan_of(folder: Path) -> BuildPlan:
    from difflut_compiler.compiled import read_compiled

    return read_compiled(folder).plan


@pytest.mark.parametrize("target", TARGETS)
def test_a_folder_as_it_was_compiled_passes(target: str, copy: Callable[[str], Path], model_file: Path) -> None:
    folder = copy(target)
    code, statuses, reasons = verify(folder, "--model", model_file)
    unchecked = NOT_CHECKED.get(target, set())
    assert statuses == {rung: "not checked" if rung in unchecked else "passed" for rung in (0, 1, 3, 4, 5)}, reasons
    assert code == 0


def test_without_a_model_its_rung_is_not_checked(copy: Callable[[str], Path]) -> None:
    code, statuses, reasons = verify(copy("json"))
    assert (code, statuses[1], reasons[1]) == (0, "not checked", "no model was given; see --model")


FLIPS = {
    "verilog": r"(LUT_\d+ = \d+'h)([0-9a-f]+)",
    "systemverilog": r"(LUT_\d+ = \d+'h)([0-9a-f]+)",
    "vhdl": r'(layer_0_d\(\d+\) <= lut\(X")([0-9a-f]+)',
}


def flip_a_table_bit(folder: Path, target: str) -> tuple[str, int]:
    """Change one bit of one table in the hardware; returns the file and the line."""
    path = next(folder.glob(f"{PLACES[target]}/*layer_0*"))
    text = path.read_text()
    match = re.search(FLIPS[target], text)
    assert match is not None
    digits = match[2]
    path.write_text(f"{text[: match.start(2)]}{int(digits, 16) ^ 1:0{len(digits)}x}{text[match.end(2) :]}")
    return path.name, text[: match.start(2)].count("\n") + 1


@pytest.mark.parametrize("target", HDL_TARGETS)
@pytest.mark.parametrize("digest_too", [False, True])
def test_one_flipped_table_bit_fails_and_is_named(target: str, digest_too: bool, copy: Callable[[str], Path]) -> None:
    """Also if whoever flipped it put the new digest into the certificate."""
    folder = copy(target)
    name, line = flip_a_table_bit(folder, target)
    if digest_too:
        replace_digest(folder, "files_sha256", plan_of(folder).digest())
    code, statuses, reasons = verify(folder)
    assert (code, statuses[3]) == (1, "failed")
    assert "lut layers.0[" in reasons[3]
    assert statuses[0] == ("passed" if digest_too else "failed")
    assert digest_too or f"{name}, line {line}" in reasons[0]


def other_graph(folder: Path) -> None:
    path = folder / "graph.json"
    changed, count = re.subn(r'"table":"0x(\w+)"', r'"table":"0x\g<1>"', path.read_text() + " ")
    assert count
    path.write_text(changed)


def other_latency(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps({**report, "latency_cycles": report["latency_cycles"] + 1}))


def other_pipeline(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps({**report, "pipeline": "none"}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_graph, "graph.json is not the graph that was compiled"),
        (other_latency, "report.json does not say what the graph does"),
        (other_pipeline, "report.json does not say what the graph does"),
    ],
)
def test_what_is_beside_the_hardware_counts(
    change: Callable[[Path], None], reason: str, copy: Callable[[str], Path]
) -> None:
    folder = copy("verilog")
    change(folder)
    code, statuses, reasons = verify(folder)
    assert (code, statuses[0]) == (1, "failed")
    assert reason in reasons[0]


def of_another_compile(name: str, field: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**text, field: "another"}))

    return change


@pytest.mark.parametrize(
    ("name", "field"),
    [("report.json", "files_sha256"), ("report.json", "model_sha256"), ("certificate.json", "target")],
)
def test_report_and_certificate_are_of_one_compile(name: str, field: str, copy: Callable[[str], Path]) -> None:
    folder = copy("json")
    of_another_compile(name, field)(folder)
    code, statuses, reasons = verify(folder)
    assert (code, statuses[0]) == (1, "failed")
    assert reasons[0] == "report.json and certificate.json are not of the same compile"


def test_files_of_other_names_are_not_checked_as_the_hardware(copy: Callable[[str], Path]) -> None:
    """Also if whoever renamed them put the new digest into both documents."""
    folder = copy("json")
    report = json.loads((folder / "report.json").read_text())
    (name,) = report["files"]
    (folder / "graph" / name).rename(folder / "graph" / "other.json")
    (folder / "report.json").write_text(json.dumps({**report, "files": ["other.json"]}))
    replace_digest(folder, "files_sha256", plan_of(folder).digest())
    code, statuses, reasons = verify(folder)
    assert (code, statuses) == (1, {0: "failed"})
    assert reasons[0] == "report.json names other files than the graph makes"


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_an_interface_that_no_compile_wrote_is_bad_input(value: object, copy: Callable[[str], Path]) -> None:
    folder = copy("json")
    report = json.loads((folder / "report.json").read_text())
    report["interface"]["reloadable"] = value
    (folder / "report.json").write_text(json.dumps(report))
    assert "interface.reloadable is not what a compile writes there" in refused(2, "verify", folder)


def test_another_graph_is_not_taken_for_the_compiled_one(copy: Callable[[str], Path]) -> None:
    folder = copy("json")
    other_graph(folder)
    assert "is not what was compiled" in refused(2, "report", folder)


@pytest.mark.parametrize("name", ["extra.v", "more/net.vhd"])
def test_other_hardware_beside_the_compiled_files_is_noticed(name: str, copy: Callable[[str], Path]) -> None:
    folder = copy("verilog")
    (folder / "rtl" / "notes.txt").write_text("not for tools")
    assert verify(folder)[0] == 0
    (folder / "rtl" / name).parent.mkdir(exist_ok=True)
    (folder / "rtl" / name).write_text("module network; endmodule\n")
    code, statuses, reasons = verify(folder)
    assert (code, statuses[0]) == (1, "failed")
    assert reasons[0] == f"{name} is no file of the compile, but a tool could take it for one"


def test_files_that_no_tool_can_read_are_noticed_by_their_digest(copy: Callable[[str], Path]) -> None:
    folder = copy("verilog")
    path = next(folder.glob("rtl/*layer_0*"))
    path.write_text(path.read_text().replace("endmodule", "endmodul"))
    code, statuses, reasons = verify(folder)
    assert (code, statuses[0]) == (1, "failed")
    assert path.name in reasons[0]
    assert "syntax error" in reasons[3]


def test_another_model_is_noticed(copy: Callable[[str], Path], tmp_path: Path) -> None:
    save_model(make_model(features=3, layer_widths=[8, 9], seed=5), tmp_path / "other.pth")
    folder = copy("json")
    code, statuses, reasons = verify(folder, "--model", tmp_path / "other.pth")
    assert (code, statuses[1]) == (1, "failed")
    assert reasons[1].endswith("is not the model that was compiled")


def test_a_model_with_other_answers_is_noticed(copy: Callable[[str], Path], tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    save_model(make_model(features=3, layer_widths=[8, 9], seed=5), other)
    folder = copy("json")
    from difflut_compiler.frontend import hash_file

    replace_digest(folder, "model_sha256", hash_file(other))
    code, statuses, reasons = verify(folder, "--model", other)
    assert (code, statuses[1]) == (1, "failed")
    assert "class_index of graph and model differ on" in reasons[1]


def test_a_person_reads_rungs_and_one_sentence(copy: Callable[[str], Path]) -> None:
    folder = copy("verilog")
    code, output, error = run("verify", folder)
    assert (code, error) == (0, "")
    assert "simulated RTL equals the graph" in output
    flip_a_table_bit(folder, "verilog")
    code, output, error = run("verify", folder)
    assert code == 1
    assert "3 failed" in output
    assert error == f"error: {folder} does not hold what was compiled and proven; compile again\n"


def test_what_was_certified_and_has_no_tool_here_is_exit_code_3(
    copy: Callable[[str], Path],
    hide: Callable[..., None],  # noqa: F811 - the fixture
) -> None:
    folder = copy("verilog")
    hide("iverilog", "verilator")
    code, output, error = run("verify", folder)
    assert code == 3
    assert "iverilog is not installed" in output
    assert error == "error: rungs that the certificate has cannot be checked here: 4\n"


def edit_json(name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_text(json.dumps(change(json.loads((folder / name).read_text()))))

    return apply


@pytest.mark.parametrize("command", ["verify", "report"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "certificate.json").unlink(), "no compiled network"),
        (lambda folder: next((folder / "graph").iterdir()).unlink(), "no compiled network"),
        (lambda folder: (folder / "graph.json").write_text("{"), "not a readable graph file"),
        (
            edit_json("certificate.json", lambda old: {name: old[name] for name in old if name != "graph_sha256"}),
            "no result of this compiler",
        ),
    ],
)
def test_a_folder_that_is_no_result_is_bad_input(
    command: str, damage: Callable[[Path], None], message: str, copy: Callable[[str], Path]
) -> None:
    folder = copy("json")
    damage(folder)
    assert message in refused(2, command, folder)


def test_the_report_is_written_anew_and_opened(copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(typer, "launch", opened.append)
    folder = copy("json")
    page = (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    code, output, error = run("report", folder)
    assert (code, error, opened) == (0, "", [])
    assert output == f"Wrote {folder / 'report.html'}.\n"
    assert (folder / "report.html").read_text() == page
    assert run("report", folder, "--open")[0] == 0
    assert opened == [str((folder / "report.html").absolute())]


def test_no_report_for_hardware_that_was_changed(copy: Callable[[str], Path]) -> None:
    folder = copy("verilog")
    flip_a_table_bit(folder, "verilog")
    assert "is not what was compiled; compile again" in refused(2, "report", folder)
