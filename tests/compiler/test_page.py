"""report.html: complete in itself, well formed, and every figure on it is that of the JSON beside it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from difflut import load_model, save_model
from difflut_compiler import vectors
from difflut_compiler.compiled import load_compiled
from difflut_compiler.graph_file import read_graph
from difflut_compiler.page import logic as logic_module
from difflut_compiler.page import render_page, write_page
from difflut_compiler.page.logic import draw_logic
from difflut_compiler.page.svg import heat_map, histogram, matrix, stacked_bar
from difflut_compiler.synth.results import (
    Area,
    PartArea,
    PathStep,
    PlaceAndRoute,
    Synthesis,
    SynthesisResult,
    Utilisation,
    VendorFigures,
)
from tests.compiler.designs import make_design
from tests.compiler.models import make_model
from tests.compiler.random_graphs import Shape
from tests.compiler.test_compile import run

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """A page as a browser without scripts has it: text by element, and everything that would be fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.figures: dict[str, str] = {}
        self.tables: list[list[list[str]]] = []
        self.ids: set[str] = set()
        self.fetched: list[str] = []
        self.classes: list[str] = []
        self._figure = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.fetched += [values[name] for name in ("src", "href", "xlink:href") if name in values]
        self.ids |= {values["id"]} if "id" in values else set()
        self.classes += values.get("class", "").split()
        if tag not in VOID:
            self.open.append(tag)
        self._figure = values.get("data-figure", "") or self._figure
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        if tag in ("b", "code"):
            self._figure = ""

    def handle_data(self, data: str) -> None:
        if self._figure:
            self.figures[self._figure] = self.figures.get(self._figure, "") + data.strip()
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data.strip()


@pytest.fixture(scope="module")
def compiled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compile with data, and beside the result its model and data."""
    folder = tmp_path_factory.mktemp("page")
    save_model(make_model(features=4, layer_widths=[12, 9]), folder / "tiny.pth")
    random = np.random.default_rng(3)
    rows, labels = (random.normal(size=(50, 4)) * 3).astype(np.float32), random.integers(0, 3, 50)
    labels[:3] = (0, 1, 2)
    np.savez(folder / "data.npz", x_train=rows, y_train=labels, x_test=rows, y_test=labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "RANDOM_SAMPLES", 20)
        arguments = ("-t", "verilog", "-o", folder / "out", "--data", folder / "data.npz", "--no-count-luts")
        code, _, error = run("compile", folder / "tiny.pth", *arguments)
    assert code == 0, error
    return folder


@pytest.fixture
def out(compiled_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(compiled_folder / "out", tmp_path / "out"))


def figures_of(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    return json.loads((folder / "report.json").read_text()), json.loads((folder / "certificate.json").read_text())


def made_up_result(out: Path) -> SynthesisResult:
    """A result with every kind of figure, in numbers that occur nowhere else."""
    compiled = load_compiled(out)
    parts = (
        PartArea("encoder", Area(1111, 12, 13, 14)),
        PartArea("layers.0", Area(2222, 0, 23, 24)),
        PartArea("harness", Area(7, 0, 0, 8)),
    )
    step = PathStep("layers.0", "layer_0_q[3]", 5, 1.25, 2.75)
    placed = PlaceAndRoute(
        "nextpnr",
        "1.2.3",
        "85k",
        "CABGA756",
        7,
        200.0,
        123.46,
        40.5,
        {"TRELLIS_FF": Utilisation(46, 83640)},
        (step,),
        "x.bit",
        3.0,
    )
    vendor = VendorFigures("vivado", "2023.2", "xc7a100t", {}, (PartArea("encoder", Area(777, flip_flops=78)),), 345.6)
    synthesis = Synthesis("yosys", "0.70", 4, parts, {}, 2.0)
    digest = compiled.plan.digest()
    return SynthesisResult(
        "ecp5", compiled.plan.top, digest, compiled.plan.latency_cycles, synthesis, placed, "", vendor
    )


def check_figures(figures: dict[str, str], folder: Path) -> None:
    """The figures marked on a page are those of the JSON files."""
    report, certificate = figures_of(folder)
    passed = sum(rung["status"] == "passed" for rung in certificate["rungs"])
    assert figures["rungs_passed"] == f"{passed} of {len(certificate['rungs'])}"
    assert figures["accuracy"] == f"{100 * report['accuracy']['graph']:.2f} %"
    assert figures["latency_cycles"] == str(report["latency_cycles"])
    assert figures["files_sha256"] == report["files_sha256"] == certificate["files_sha256"]
    assert figures["model_sha256"] == report["model_sha256"]
    results = sorted(folder.glob("synth/*/result.json"))
    if not results:
        assert figures["estimated_lut6"] == f"{report['optimised']['estimated_lut6']:,}"
    for path in results:
        result = json.loads(path.read_text())
        assert figures[f"{result['family']}_luts"] == f"{result['synthesis']['network']['luts']:,}"
        assert figures[f"{result['family']}_fmax"] == f"{result['place_and_route']['fmax_mhz']:.1f} MHz"


def test_the_page_of_a_compile_is_complete_in_itself(out: Path) -> None:
    text = (out / "report.html").read_text()
    page = Page(text)
    check_figures(page.figures, out)
    anchors = {target.removeprefix("#") for target in page.fetched if target.startswith("#")}
    assert anchors <= page.ids
    assert [target for target in page.fetched if not target.startswith("#")] == ["data:,"], "nothing is fetched"
    outside = re.sub(re.escape("http://www.w3.org/2000/svg"), "", text)
    assert "http" not in outside
    assert "url(" not in outside
    assert "@import" not in outside
    assert page.classes.count("badge") == 5
    assert str(out.parent) not in text


def test_synthesis_writes_its_figures_on_the_page(out: Path) -> None:
    folder = out / "synth" / "ecp5"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(made_up_result(out).to_json())
    write_page(load_compiled(out))
    page = Page((out / "report.html").read_text())
    check_figures(page.figures, out)
    assert page.figures["ecp5_luts"] == "3,333", "the harness is no part of the network"
    assert [
        ["part", "LUT-4", "carry", "muxes", "registers"],
        ["encoder", "1,111", "12", "13", "14"],
        ["layers.0", "2,222", "0", "23", "24"],
        ["network", "3,333", "12", "36", "38"],
    ] in page.tables
    assert ["layers.0", "layer_0_q[3]", "5", "1.25", "2.75"] in page.tables[1]
    assert [["part", "LUTs", "registers"], ["encoder", "777", "78"]] in page.tables
    text = (out / "report.html").read_text()
    assert "46 of 83,640 TRELLIS_FF (0.1 %)" in text
    assert "speed grade 6, placed and routed for 200 MHz" in " ".join(text.split())
    assert "No block RAM" in text


def test_cells_that_are_none_of_the_resources_are_named_on_the_page(out: Path) -> None:
    folder, result = out / "synth" / "ecp5", made_up_result(out)
    folder.mkdir(parents=True)
    synthesis = replace(result.synthesis, other_cells={"DP16KD": 1234, "MULT18X18D": 2})
    (folder / "result.json").write_text(replace(result, synthesis=synthesis).to_json())
    write_page(load_compiled(out))
    text = (out / "report.html").read_text()
    assert "1,234 DP16KD, 2 MULT18X18D." in text
    assert "No block RAM" not in text


def test_a_result_of_other_hardware_is_not_shown(out: Path) -> None:
    folder = out / "synth" / "ecp5"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(replace(made_up_result(out), rtl_sha256="0" * 64).to_json())
    write_page(load_compiled(out))
    assert "ecp5_luts" not in Page((out / "report.html").read_text()).figures


@pytest.mark.parametrize(("family", "text"), [("ecp5", "{}"), ("ecp5", "{"), ("ice40", None)])
def test_a_result_of_synthesis_that_none_wrote_is_named(family: str, text: str | None, out: Path) -> None:
    folder = out / "synth" / family
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(text or made_up_result(out).to_json())
    code, _, error = run("report", out)
    assert code == 2
    assert "result.json" in error
    assert "synthesise again" in error


def test_the_confusion_matrix_counts_the_models_answers(compiled_folder: Path) -> None:
    model = load_model(compiled_folder / "tiny.pth").eval()
    with np.load(compiled_folder / "data.npz") as data:
        rows, labels = torch.from_numpy(data["x_test"]), data["y_test"]
    expected = [[0] * 3 for _ in range(3)]
    for answer, label in zip(model.predict(rows).tolist(), labels.tolist(), strict=True):
        expected[label][answer] += 1
    report, _ = figures_of(compiled_folder / "out")
    assert report["accuracy"]["confusion"] == expected
    assert report["accuracy"]["graph"] == pytest.approx(sum(expected[k][k] for k in range(3)) / 50)
    text = (compiled_folder / "out" / "report.html").read_text()
    for label, row in enumerate(expected):
        for answer, count in enumerate(row):
            assert f"<title>{count} samples of {label} answered {answer}</title>" in text


def test_the_first_samples_are_those_of_the_data(compiled_folder: Path) -> None:
    model = load_model(compiled_folder / "tiny.pth").eval()
    with np.load(compiled_folder / "data.npz") as data:
        rows = torch.from_numpy(data["x_test"])[:12]
    samples = figures_of(compiled_folder / "out")[0]["first_samples"]
    assert samples["outputs"]["class_index"] == model.predict(rows).tolist()
    assert samples["features"] == model.input_format.to_integers(rows).tolist()
    text = (compiled_folder / "out" / "report.html").read_text()
    picture = text[text.index('id="waveform"') :]
    lane = re.findall(r'class="(value|unknown)"', picture[picture.index(">class_index<") :])
    latency = figures_of(compiled_folder / "out")[0]["latency_cycles"]
    assert lane == ["unknown"] * latency + ["value"] * 12


def test_names_from_outside_cannot_become_markup(out: Path) -> None:
    report, certificate = figures_of(out)
    report["class_names"] = ["<script>alert(1)</script>", "a & b", '"quoted"']
    certificate["rungs"][0]["reason"] = "<img src=x>"
    graph = read_graph(out / "graph.json")
    text = render_page(report, certificate, graph, [])
    Page(text)
    assert "<script>alert" not in text
    assert "<img" not in text
    assert text == render_page(report, certificate, graph, []), "same figures, same bytes"


def test_the_page_of_a_failed_compile_says_so(out: Path) -> None:
    report, certificate = figures_of(out)
    certificate["rungs"][2] |= {"status": "failed", "reason": "net 12 differs", "comparisons": 0}
    page = Page(render_page(report, certificate, read_graph(out / "graph.json"), []))
    assert page.figures["rungs_passed"] == "4 of 5"
    assert page.classes.count("failed") == 1


# -- pictures ----------------------------------------------------------------------------------------------------------


def titles(picture: str) -> list[str]:
    return re.findall(r"<title>([^<]*)</title>", picture)


def test_a_histogram_counts_every_value() -> None:
    picture = titles(histogram(np.array([1, 1, 1, 2, 5]), "fan-out", "readers"))
    assert picture == ["1 readers: 3", "2 readers: 1", "5 readers: 1"]
    values = np.array([0.0, 0.1, 0.5, 1.0])
    assert sum(int(title.rsplit(": ", 1)[1]) for title in titles(histogram(values, "entropy", "bits"))) == 4


def test_a_heat_map_is_square_for_images() -> None:
    picture = heat_map(np.arange(16) / 120, [f"f{k}" for k in range(16)], "weights")
    assert 'viewBox="0 0 300 300"' in picture
    assert titles(picture)[15] == "f15: 12.50%"
    assert 'viewBox="0 0 300 60"' in heat_map(np.ones(5), list("abcde"), "weights")


def test_a_stacked_bar_has_the_shares() -> None:
    bar = stacked_bar([("a", 30), ("<b>", 10)], "x")
    assert re.findall(r'style="flex:(\d+)" title="([^"]*)"', bar) == [
        ("30", "a: 30 (75%)"),
        ("10", "&lt;b&gt;: 10 (25%)"),
    ]


def test_a_matrix_has_a_field_per_pair() -> None:
    assert titles(matrix([[3, 1], [0, 2]], ["cat", "dog"], "x"))[1] == "1 samples of cat answered dog"


def test_the_drawing_has_every_lut_and_its_wires() -> None:
    graph = make_design(Shape(widths=(9, 8)), seed=4).graph
    drawing = draw_logic(graph)
    nodes = dict(re.findall(r'id="n(\d+)" data-reads="([^"]*)"', drawing.picture))
    drawn = {net for net in graph if graph.node(net).op.kind in ("lut", "compare")}
    assert {int(net) for net in nodes} == drawn
    assert drawing.shown == drawing.total == len(drawn)
    for net, reads in nodes.items():
        expected = {operand for operand in graph.node(int(net)).operands if operand in drawn}
        assert {int(one.removeprefix("n")) for one in reads.split()} == expected


def test_of_large_layers_the_most_read_luts_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logic_module, "MOST_NODES", 12)
    graph = make_design(Shape(widths=(30, 6)), seed=4).graph
    layers: dict[str, list[int]] = {}
    for net in graph:
        if graph.node(net).op.kind in ("lut", "compare"):
            layers.setdefault(graph.node(net).origin.layer, []).append(net)
    drawing = draw_logic(graph)
    drawn = {int(net) for net in re.findall(r'id="n(\d+)"', drawing.picture)}
    assert drawing.shown == len(drawn) == 12 < drawing.total == sum(map(len, layers.values()))
    shown = {layer: [net for net in nets if net in drawn] for layer, nets in layers.items()}
    largest = max(map(len, shown.values()))
    for layer, nets in layers.items():
        assert shown[layer] == nets or len(shown[layer]) >= largest - 1, layer
        fan_out = sorted((graph.dag.out_degree(net) for net in nets), reverse=True)
        assert sorted((graph.dag.out_degree(net) for net in shown[layer]), reverse=True) == fan_out[: len(shown[layer])]


# -- in a browser ------------------------------------------------------------------------------------------------------

PROBE = """
<script>
window.addEventListener("load", () => {
  const node = [...document.querySelectorAll(".node.lut")].at(-1);
  node.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  const reads = node.dataset.reads.split(" ").filter(Boolean).length;
  const frame = document.getElementById("viewport");
  const box = frame.querySelector("svg").getAttribute("viewBox");
  frame.dispatchEvent(new WheelEvent("wheel", { deltaY: -1, clientX: 50, clientY: 50, cancelable: true }));
  const result = {
    chosen: document.getElementById("chosen").textContent === node.querySelector("title").textContent,
    wires: document.querySelectorAll(".selected.in").length === reads,
    zoomed: box !== frame.querySelector("svg").getAttribute("viewBox"),
    overflow: document.documentElement.scrollWidth - window.innerWidth,
  };
  document.body.setAttribute("data-probe", JSON.stringify(result));
});
</script>
"""


def browser() -> str:
    """A headless Chromium; as with every tool, its absence skips the test."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("chromium is not installed: install the system package chromium")
    return found


FRAME = """
<iframe id="phone" src="report.html" style="width: 390px; height: 844px; border: 0"></iframe>
<script>
window.addEventListener("load", () => {
  const page = document.getElementById("phone").contentDocument.documentElement;
  document.body.setAttribute("data-widths", `${page.clientWidth} ${page.scrollWidth}`);
});
</script>
"""


def open_in_browser(path: Path) -> subprocess.CompletedProcess[str]:
    """Load a page headless; standard output is the document afterwards, standard error the log with the console."""
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += [f"--user-data-dir={path.parent / 'profile'}", "--enable-logging=stderr", "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)


def test_nothing_sticks_out_on_a_phone(out: Path) -> None:
    """In a frame, for a window of Chromium is never as narrow."""
    (out / "frame.html").write_text(FRAME)
    widths = re.search(r'data-widths="(\d+) (\d+)"', open_in_browser(out / "frame.html").stdout)
    assert widths is not None
    assert int(widths[2]) == int(widths[1]) <= 390


@pytest.mark.parametrize("width", [1200, 500])
def test_chromium_shows_the_page_without_complaint(width: int, out: Path) -> None:
    """No message on the console, the figures are there, the drawing answers, nothing sticks out on a narrow screen."""
    program = browser()
    folder = out / "synth" / "ecp5"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(made_up_result(out).to_json())
    write_page(load_compiled(out))
    probed = out / "probed.html"
    probed.write_text((out / "report.html").read_text().replace("</body>", PROBE + "</body>"))
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
    command += [f"--user-data-dir={out / 'profile'}", "--enable-logging=stderr", "--dump-dom", probed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert "CONSOLE" not in done.stderr
    found = re.search(r"data-probe=\"([^\"]*)\"", done.stdout)
    assert found is not None, "the page's script came to its end"
    probe = json.loads(found[1].replace("&quot;", '"'))
    assert probe.pop("overflow") <= 0
    assert probe == {"chosen": True, "wires": True, "zoomed": True}
    figures = {name: text.strip() for name, text in re.findall(r'data-figure="(\w+)">([^<]*)<', done.stdout)}
    check_figures(figures, out)
