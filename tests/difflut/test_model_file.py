"""Model files: what is saved comes back, and nothing else gets in."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from difflut import load_model, save_model
from difflut.errors import CheckpointError, ConfigError
from difflut.models import BaseLUTModel, ModelConfig, SimpleFeedForward
from difflut.registry import REGISTRY
from difflut.utils.files import write_atomically

ModelMaker = Callable[..., SimpleFeedForward]


@pytest.fixture
def content(make_model: ModelMaker, tmp_path: Path) -> dict[str, Any]:
    """What a good file of a learnable dwn model holds."""
    path = tmp_path / "good.pth"
    save_model(make_model(layer_type="learnable"), path)
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


@pytest.mark.parametrize("node_type", REGISTRY.list_nodes())
@pytest.mark.parametrize("layer_type", REGISTRY.list_layers())
def test_round_trip(make_model: ModelMaker, tmp_path: Path, node_type: str, layer_type: str) -> None:
    model = make_model(node_type=node_type, layer_type=layer_type, class_names=["a", "b", "ß"])
    path = tmp_path / "model.pth"
    save_model(model, path)
    loaded = load_model(path)
    assert not loaded.training
    assert loaded.config == model.config
    assert loaded.input_format == model.input_format
    assert loaded.class_names == ["a", "b", "ß"]
    x = torch.randn(50, 5, generator=torch.Generator().manual_seed(4))
    assert torch.equal(loaded.class_counts(x), model.class_counts(x))
    assert torch.equal(loaded.train()(x), model.train()(x))


def test_equal_models_give_equal_bytes_under_any_name(make_model: ModelMaker, tmp_path: Path) -> None:
    first, second = tmp_path / "first.pth", tmp_path / "second.pt"
    save_model(make_model(), first)
    save_model(load_model(first), second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.pth", "second.pt"]


def test_a_failed_save_leaves_the_old_file(
    make_model: ModelMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pth"
    save_model(make_model(), path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(make_model(seed=1), path)
    assert path.read_bytes() == before


def test_unfitted_models_are_not_saved(make_config: Callable[..., ModelConfig], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"fit_encoder\(\)"):
        save_model(SimpleFeedForward(make_config()), tmp_path / "model.pth")


@pytest.mark.parametrize(
    "changes",
    [{"node_kwargs": {"init_fn": torch.nn.init.ones_}}, {"layer_kwargs": {"num_candidates": 10**30}}],
    ids=["a function", "a large number"],
)
def test_what_could_not_be_loaded_is_not_saved(make_model: ModelMaker, tmp_path: Path, changes: dict[str, Any]) -> None:
    model = make_model(layer_type="learnable", **changes)
    with pytest.raises(ConfigError, match=r"config\.(node_kwargs\.init_fn|layer_kwargs\.num_candidates) is a"):
        save_model(model, tmp_path / "model.pth")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_of_another_type_are_not_saved(make_model: ModelMaker, tmp_path: Path, dtype: torch.dtype) -> None:
    model = make_model()
    with pytest.raises(CheckpointError, match=rf"thresholds has type {dtype}, .* model\.float\(\)"):
        save_model(model.to(dtype), tmp_path / "model.pth")
    assert not list(tmp_path.iterdir())
    save_model(model.float(), tmp_path / "model.pth")
    x = torch.randn(50, 5)
    assert torch.equal(load_model(tmp_path / "model.pth").class_counts(x), model.class_counts(x))


def test_weights_that_are_no_numbers_are_not_saved(make_model: ModelMaker, tmp_path: Path) -> None:
    model = make_model()
    model.lut_layers()[1].bank.get_parameter("luts").data[3, 0, 2] = NAN
    with pytest.raises(CheckpointError, match=r"layers\.1\.bank\.luts holds values that are not finite"):
        save_model(model, tmp_path / "model.pth")
    assert not list(tmp_path.iterdir())


def replace(content: dict[str, Any], path: str, value: object) -> None:
    """Set the entry at a path such as ``state/encoder.thresholds``."""
    *parents, last = path.split("/")
    for parent in parents:
        content = content[parent]
    content[last] = value


NAN = float("nan")


@pytest.mark.parametrize(
    ("node_type", "buffer", "value", "message"),
    [
        ("difflogic", "indices", 4, "indices points outside the 4 inputs"),
        ("difflogic", "indices", -1, "indices points outside the 4 inputs"),
        ("neurallut", "tau", 0.0, r"tau is 0\.0, not above 0"),
        ("fourier", "frequencies", 0.3, r"frequencies holds values other than 0 and 0\.5"),
    ],
)
def test_impossible_buffers_of_nodes_are_named(
    make_model: ModelMaker, tmp_path: Path, node_type: str, buffer: str, value: float, message: str
) -> None:
    model = make_model(node_type=node_type)
    model.lut_layers()[1].bank.get_buffer(buffer).fill_(value)
    save_model(model, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=rf"bad\.pth: layers\.1\.bank\.{message}"):
        load_model(tmp_path / "bad.pth")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", "other", "not a difflut-model file"),
        ("version", 2, "version 2"),
        ("version", "1", "version '1'"),
        ("extra", 1, "entries"),
        ("state", [1], "state is a list"),
        ("version", torch.ones(2), "version"),
        ("format", torch.ones(2), "not a difflut-model file"),
        ("config", 3, "table of fields"),
        ("config/layer_kwargs", {"num_candidates": torch.ones(2)}, "config.layer_kwargs.num_candidates is a Tensor"),
        ("config/layer_widths", [[[[[[[[[[1]]]]]]]]]], "nested too deeply"),
        ("config/colour", "red", "'colour'"),
        ("config/input_size", None, "input_size"),
        ("config/input_size", 6, r"encoder.thresholds has shape \(5, 3\), expected \(6, 3\)"),
        ("config/input_format", None, "input_format"),
        ("config/node_type", "xor", "node_type"),
        ("config/node_type", "linear_lut", "layers.0.bank.weights is missing"),
        ("config/layer_widths", [14], "layers.1"),
        ("config/layer_widths", [2**22], "needs at least"),
        ("config/encoder_config/num_bits", 4, "encoder.thresholds has shape"),
        ("config/input_size", 2**20, "needs at least"),
        ("config/node_kwargs", {"output_dim": 10**9}, "table entries"),
        ("config/node_kwargs", {"wings": 1}, "wings"),
        ("config/layer_kwargs", {"num_candidates": 3}, "routing_logits has shape"),
        ("config/layer_kwargs", {"seed": 1}, "layer 0"),
        ("config/seed", 2**80, "seed"),
        ("config/num_classes", torch.tensor(3), "num_classes"),
        ("state/surprise", torch.zeros(1), "'surprise' is not part"),
        ("state/encoder.thresholds", torch.zeros(5, 3).double(), "encoder.thresholds has type torch.float64"),
        ("state/encoder.thresholds", torch.tensor([[2.0, 1.0, 3.0]] * 5), "ascending"),
        ("state/encoder.thresholds", torch.tensor([[2.0, NAN, 3.0]] * 5), "encoder.thresholds holds values"),
        ("state/layers.0.bank.luts", torch.zeros(14, 1, 8), r"luts has shape \(14, 1, 8\), expected \(14, 1, 16\)"),
        ("state/layers.0.bank.luts", torch.full((14, 1, 16), NAN), "layers.0.bank.luts holds values"),
        ("state/layers.0.bank.luts", torch.zeros(14, 1, 16).to_sparse(), "not a plain tensor"),
        ("state/layers.0.bank.luts", torch.zeros(14, 1, 16, device="meta"), "not a plain tensor"),
        ("state/layers.0.bank.luts", "text", "layers.0.bank.luts is not a plain tensor"),
        ("state/layers.1.candidates", torch.full((12, 4, 14), 14), "layers.1.candidates points outside the 14"),
        ("state/layers.1.candidates", torch.full((12, 4, 14), -1), "layers.1.candidates points outside"),
        ("state/layers.1.routing_logits", torch.full((12, 4, 14), float("inf")), "routing_logits holds values"),
    ],
)
def test_wrong_content_is_named(
    content: dict[str, Any], tmp_path: Path, path: str, value: object, message: str
) -> None:
    replace(content, path, value)
    file = tmp_path / "bad.pth"
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=f"bad.pth.*{message}") as caught:
        load_model(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["encoder.thresholds", "layers.1.bank.luts", "layers.0.candidates"])
def test_missing_tensors_are_named(content: dict[str, Any], tmp_path: Path, name: str) -> None:
    del content["state"][name]
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        load_model(tmp_path / "bad.pth")


def test_an_expanded_tensor_of_wrong_size_is_refused_without_unfolding(content: dict[str, Any], tmp_path: Path) -> None:
    content["state"]["layers.0.bank.luts"] = torch.zeros(1).expand(2**40)
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="luts has shape"):
        load_model(tmp_path / "bad.pth")


def test_a_small_file_that_says_very_much_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    much: list[Any] = [0]
    for _ in range(6):
        much = [much] * 50
    content["config"]["metadata"] = {"notes": much}
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="config holds more than"):
        load_model(tmp_path / "bad.pth")


class Attack:
    """Touches a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.target), "w"))


def test_pickled_code_is_never_executed(content: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "touched"
    content["state"]["evil"] = Attack(target)
    torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth"):
        load_model(tmp_path / "evil.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Attack(target)))
    with pytest.raises(CheckpointError, match=r"raw\.pth"):
        load_model(tmp_path / "raw.pth")
    assert not target.exists()


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04", b"\x80\x02K\x01.", b"\0" * 4096])
def test_foreign_files(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "foreign").write_bytes(data)
    with pytest.raises(CheckpointError, match="foreign"):
        load_model(tmp_path / "foreign")


def test_unreadable_paths(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pth", tmp_path, Path("/dev/zero")):
        with pytest.raises(CheckpointError, match=f"{path}: there is no such file"):
            load_model(path)


def test_compressed_archives_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(CheckpointError, match="compressed"):
        load_model(tmp_path / "bomb.pth")


def test_a_flipped_bit_in_a_weight_is_noticed(make_model: ModelMaker, tmp_path: Path) -> None:
    model = make_model()
    save_model(model, tmp_path / "model.pth")
    data = bytearray((tmp_path / "model.pth").read_bytes())
    weights = model.lut_layers()[0].bank.state_dict()["luts"].numpy().tobytes()
    data[data.index(weights)] ^= 1
    (tmp_path / "model.pth").write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="checksum"):
        load_model(tmp_path / "model.pth")


def test_oversized_files_are_not_read(make_model: ModelMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(make_model(), tmp_path / "model.pth")
    monkeypatch.setattr("difflut.utils.archive.MAX_FILE_BYTES", 100)
    with pytest.raises(CheckpointError, match="larger than 100 bytes"):
        load_model(tmp_path / "model.pth")


@pytest.fixture(scope="module")
def good_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    config = ModelConfig("feedforward", "random", "dwn", {"name": "thermometer", "num_bits": 1}, 2, [2], 2)
    model = SimpleFeedForward(config)
    model.fit_encoder(torch.rand(4, 2))
    path = tmp_path_factory.mktemp("good") / "good.pth"
    save_model(model, path)
    return path.read_bytes()


def load_unless_refused(path: Path) -> BaseLUTModel | None:
    """Load a model; a refusal is fine, any other error is not."""
    try:
        return load_model(path)
    except CheckpointError:
        return None


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_load_or_are_refused(good_bytes: bytes, tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(good_bytes[: data.draw(st.one_of(st.just(len(good_bytes)), st.integers(0, len(good_bytes))))])
    for _ in range(data.draw(st.integers(0, 4))):
        if damaged:
            position = data.draw(st.integers(0, len(damaged) - 1))
            damaged[position] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.pth"
    path.write_bytes(bytes(damaged))
    model = load_unless_refused(path)
    if model is not None:
        assert model.class_counts(torch.rand(3, 2)).shape == (3, 2)


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 70)
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from([10**30, torch.ones(2)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_config_value_loads_or_is_refused(good_bytes: bytes, tmp_path: Path, data: st.DataObject) -> None:
    content = torch.load(io.BytesIO(good_bytes), weights_only=True)
    keys = data.draw(st.lists(st.sampled_from(sorted(content["config"])), min_size=1, max_size=2))
    for key in keys:
        content["config"][key] = data.draw(plain_values)
    path = tmp_path / "odd.pth"
    torch.save(content, path)
    model = load_unless_refused(path)
    if model is not None:
        assert model.class_counts(torch.rand(3, 2)).shape == (3, content["config"]["num_classes"])


def test_an_interrupted_write_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pth"
    write_atomically(path, b"before")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"half")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pth"]
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"runtime": {"temprature": 1.0}}, "runtime.temprature"), ({"class_names": ["a", "b"]}, "class_names")],
)
def test_nothing_is_written_that_could_not_be_read(
    make_model: ModelMaker, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    model = make_model()
    vars(model.get_config()).update(changes)
    for write in (model.save_weights, model.save_config, partial(save_model, model)):
        with pytest.raises(ConfigError, match=named):
            write(tmp_path / "model")
    assert not list(tmp_path.iterdir())
