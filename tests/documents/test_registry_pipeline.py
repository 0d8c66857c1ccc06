"""The guide to the registry and to pipelines: names, configurations and the networks that they describe."""

from __future__ import annotations

import ast
import datetime
import inspect
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from difflut.encoders import BaseEncoder
from difflut.layers import BaseLUTLayer
from difflut.nodes.utils.regularizers import l2_regularizer
from difflut.registry import REGISTRY
from difflut.utils.modules import GroupSum
from tests.documents.session import (
    Corrected,
    Document,
    Names,
    NotCode,
    Outcome,
    Run,
    Saved,
)
from tests.documents.tables import answer_by_hand

CONFIG_FILES = ("model_config.yaml", "experiment_config.yaml")


def give_ablation(names: Names) -> None:
    """A way to judge a model, and a place for the results."""
    names["evaluate"] = lambda model: sum(parameter.numel() for parameter in model.parameters())
    names["results"] = {}


def give_configuration(names: Names) -> None:
    """The configuration of the guide, again, and the function that builds one."""
    from difflut.models import build_from_config

    names["config"] = yaml.safe_load(Path("model_config.yaml").read_text(encoding="utf-8"))
    names["build_from_config"] = build_from_config


DOCUMENT = Document(
    "registry_pipeline.md",
    {
        1: Run(),
        2: Run(),
        3: Run(),
        4: Run(),
        5: Run(),
        6: Saved(CONFIG_FILES),
        7: Run(),
        8: Run(),
        9: Run(),
        10: Run(given=lambda names: names.update(config_dict={"encoder": {"type": "thermometer"}})),
        11: Run(),
        12: Corrected(
            "the settings that stay the same are left out",
            replace=(
                (
                    "build_model(node_type=node_type, ...)",
                    "build_lut_pipeline(input_size=20, hidden_sizes=[30], num_classes=5, node_type=node_type)",
                ),
            ),
            given=give_ablation,
        ),
        13: Saved(("node_params.yaml",)),
        14: Run(given=lambda names: names.update(datetime=datetime.datetime)),
        15: Run(given=give_configuration, warns=("one vote per class",)),
        16: Corrected(
            "the other settings of the layers are left out",
            replace=(
                ("{'seed': 42, ...},\n", "{'seed': 42, 'input_size': 20, 'output_size': 30},\n"),
                ("{'seed': 43, ...},", "{'seed': 43, 'input_size': 20, 'output_size': 30},"),
                ("{'seed': 44, ...},\n", "{'seed': 44, 'input_size': 20, 'output_size': 30},\n"),
            ),
        ),
        17: NotCode("a list of links behind a fence that was not meant"),
        18: Run(),
        19: Run(),
    },
)


@pytest.mark.parametrize("number", DOCUMENT.numbers((Run, Corrected)))
def test_block_runs(number: int, session: dict[int, Outcome]) -> None:
    DOCUMENT.check_run(number, session[number])


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(DOCUMENT.blocks[6].text)
    return content


def draw(samples: int, features: int) -> Tensor:
    return torch.rand(samples, features, generator=torch.Generator().manual_seed(5))


def check_answers(model: nn.Module, encoder: BaseEncoder, group_sum: GroupSum | None, features: int = 784) -> None:
    """A model in eval mode answers what its tables answer, read one after the other."""
    encoder.fit(draw(50, features))
    x = draw(4, features)
    with torch.no_grad():
        scores = model.eval()(x.view(4, 1, -1))
    assert isinstance(model.layers, nn.ModuleList)
    layers = [layer for layer in model.layers if isinstance(layer, BaseLUTLayer)]
    assert len(layers) == len(model.layers)
    assert torch.equal(scores, answer_by_hand(encoder, layers, group_sum, x))


def lists_in_comments(text: str) -> list[list[str]]:
    """The lists that stand as output in the comments of a block, without their dots."""
    comments = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    return [
        [name for name in ast.literal_eval(found) if name is not ...]
        for found in re.findall(r"Output: (\[.*?\])", comments)
    ]


def test_every_list_has_the_names_of_the_guide(session: dict[int, Outcome]) -> None:
    promised = lists_in_comments(DOCUMENT.blocks[1].text)
    printed = [ast.literal_eval(line) for line in session[1].printed.splitlines() if line.startswith("[")]
    assert len(promised) == len(printed) == 5
    for wanted, names in zip(promised, printed, strict=True):
        assert set(wanted) <= set(names)
        assert len(wanted) >= 2
    assert printed[0] == REGISTRY.list_nodes()
    assert printed[2] == REGISTRY.list_encoders()


def test_components_are_found(session: dict[int, Outcome]) -> None:
    assert session[2].printed.splitlines() == [
        "✓ LinearLUT node is available",
        "✓ Learnable layer is available",
        "✓ Kaiming normal initializer is available",
    ]


def test_layer_from_classes_and_typed_configurations(session: dict[int, Outcome]) -> None:
    layer = session[3]["layer"]
    assert isinstance(layer, BaseLUTLayer)
    assert (layer.input_size, layer.output_size, layer.n) == (100, 50, 4)
    assert type(layer.bank) is REGISTRY.get_node("linear_lut")
    assert (layer.bank.input_dim, layer.bank.output_dim, layer.bank.num_nodes) == (4, 1, 50)
    assert (layer.layer_config.flip_probability, layer.layer_config.grad_stabilization) == (0.1, "layerwise")
    assert session[3]["encoder"].num_bits == 8


def test_layer_from_a_dictionary(session: dict[int, Outcome]) -> None:
    layer = session[4]["layer"]
    assert (layer.input_size, layer.output_size, layer.n) == (512, 256, 6)
    assert layer.bank.degree == 3
    assert layer.bank.num_monomials == 84  # (6 + 3 choose 3)
    again = session[4]["LayerClass"](512, 256, "polylut", 6, seed=42)
    assert torch.equal(layer.mapping(), again.mapping())
    assert layer.layer_config.grad_target_std == 1.0


def test_node_with_initialiser_and_regulariser(session: dict[int, Outcome]) -> None:
    node = session[5]["node"]
    again = session[5]["NodeClass"](input_dim=6, output_dim=1, init_fn="kaiming_normal")
    assert torch.equal(node.weights, again.weights)
    many = session[5]["NodeClass"](**session[5]["node_config"].to_dict(), num_nodes=4000)
    assert abs(many.weights.std().item() - (2 / 6) ** 0.5) < 0.01  # gain of relu over 6 inputs
    inputs = draw(20, 6)
    node.train()(inputs)
    penalty = node.regularization().item()
    assert penalty == l2_regularizer(node, inputs=inputs).item()
    assert penalty > 0


def test_model_from_the_yaml_file(session: dict[int, Outcome], config: dict[str, Any]) -> None:
    assert session[7].printed == "Model created with 3 layers\n"
    model = session[7]["model"]
    for layer, wanted in zip(model.layers, config["layers"], strict=True):
        assert type(layer) is REGISTRY.get_layer(wanted["type"])
        assert type(layer.bank) is REGISTRY.get_node(wanted["node_type"])
        sizes = (wanted["input_size"], wanted["output_size"], wanted["n"])
        assert (layer.input_size, layer.output_size, layer.n) == sizes
        for name, value in wanted.get("layer_training", {}).items():
            assert getattr(layer.layer_config, name) == value
    assert model.layers[1].bank.gradient_scale == 1.0
    assert (model.groupsum.k, model.groupsum.tau) == (10, 1.0)
    check_answers(model, model.encoder, model.groupsum)


def test_model_from_the_yaml_file_learns_with_its_regulariser(session: dict[int, Outcome]) -> None:
    model = session[7]["model"].train()
    model.encoder.fit(draw(50, 784))
    scores = model(draw(16, 784))
    penalties = [layer.regularization() for layer in model.layers]
    assert [bool(penalty > 0) for penalty in penalties] == [False, True, False]
    (nn.functional.cross_entropy(scores, torch.arange(16) % 10) + sum(penalties)).backward()
    assert all(parameter.grad.abs().sum() > 0 for layer in model.layers for parameter in layer.parameters())


def test_pipelines(session: dict[int, Outcome]) -> None:
    first, second = session[8].assigned["model"]
    sizes = [(layer.input_size, layer.output_size, layer.n) for layer in first.layers]
    assert sizes == [(784 * 8, 256, 4), (256, 128, 4), (128, 10, 4)]
    sizes = [(layer.input_size, layer.output_size, layer.n) for layer in second.layers]
    assert sizes == [(784 * 6, 512, 6), (512, 256, 6), (256, 10, 6)]
    assert {layer.layer_config.flip_probability for layer in second.layers} == {0.1}
    assert {layer.bank.gradient_scale for layer in second.layers} == {1.0}
    for model in (first, second):
        check_answers(model, model.encoder, model.groupsum)


def test_every_combination_of_the_grid_is_built(session: dict[int, Outcome]) -> None:
    grid = session[9]["param_grid"]
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    assert session[9].printed.splitlines() == [f"Testing config: {values}" for values in combinations]
    assert len(combinations) == 144
    last = session[9]["model"].layers[0]
    assert (last.n, last.output_size, type(last)) == (8, 256, REGISTRY.get_layer("learnable"))
    assert (last.layer_config.flip_probability, last.layer_config.grad_stabilization) == (0.1, "layerwise")


def test_checkpoint_of_the_best_practices_restores_model_and_encoder(
    session: dict[int, Outcome], tmp_path: Path
) -> None:
    model, encoder = session[8].assigned["model"][0], session[7]["encoder"].fit(draw(50, 784))
    state = {"model_state": model.state_dict(), "config": {}, "encoder_state": encoder.state_dict()}
    torch.save(state, tmp_path / "checkpoint.pt")
    loaded = torch.load(tmp_path / "checkpoint.pt")
    fresh = REGISTRY.get_encoder("thermometer")(num_bits=8)
    fresh.load_state_dict(loaded["encoder_state"])
    assert torch.equal(fresh.thresholds, encoder.thresholds)
    twin = session[8]["build_lut_pipeline"](784, [256, 128], 10)
    twin.load_state_dict(loaded["model_state"])
    x = draw(5, 784)
    assert torch.equal(twin.eval()(x), model.eval()(x))


def test_typed_configurations_of_the_best_practices(session: dict[int, Outcome]) -> None:
    assert session[11]["node_config"].to_dict() == {"input_dim": 6, "output_dim": 1}
    assert session[11]["layer_config"].flip_probability == 0.1


def test_ablation_varies_the_node_type(session: dict[int, Outcome]) -> None:
    per_node = {"linear_lut": 4 + 1, "polylut": 35, "dwn_stable": 2**4}  # 35 is 4 + 3 choose 3
    assert session[12]["results"] == {name: 35 * count for name, count in per_node.items()}


def test_node_parameters_of_a_yaml_file_are_those_of_the_node() -> None:
    params = yaml.safe_load(DOCUMENT.blocks[13].text)["node_params"]
    node = REGISTRY.get_node("dwn_stable")(**params)
    assert (node.input_dim, node.output_dim) == (6, 1)
    assert node.gradient_scale == 1.0


def test_configuration_is_versioned(session: dict[int, Outcome]) -> None:
    assert session[14]["config"]["version"] == "1.0"
    datetime.datetime.fromisoformat(session[14]["config"]["timestamp"])


def test_validated_configuration_is_built(session: dict[int, Outcome], config: dict[str, Any]) -> None:
    model = session[15]["model"]
    x = draw(40, 784)
    model.fit_encoder(x)
    hand_made = session[7]["ConfiguredLUTModel"](config, REGISTRY.get_encoder("thermometer")(num_bits=8))
    hand_made.encoder.fit(model.input_format.quantize(x))
    with torch.no_grad():
        assert torch.equal(model.eval()(x), hand_made.eval()(model.input_format.quantize(x)))


def test_seeds_fix_the_layers(session: dict[int, Outcome]) -> None:
    settings = session[16]["config"]["layers"]
    layers, again = (
        [REGISTRY.get_layer("random")(node_type="dwn", **setting) for setting in settings] for _ in range(2)
    )
    for one, same in zip(layers, again, strict=True):
        assert torch.equal(one.mapping(), same.mapping())
        assert torch.equal(one.bank.get_parameter("luts"), same.bank.get_parameter("luts"))
    for one, other in itertools.combinations(layers, 2):
        assert not torch.equal(one.mapping(), other.mapping())
        assert not torch.equal(one.bank.get_parameter("luts"), other.bank.get_parameter("luts"))


def test_component_tells_about_itself(session: dict[int, Outcome]) -> None:
    NodeClass = session[18]["NodeClass"]
    assert NodeClass is REGISTRY.get_node("linear_lut")
    assert "sigmoid" in (NodeClass.__doc__ or "")
    parameters = list(inspect.signature(NodeClass.__init__).parameters)
    assert {"input_dim", "output_dim", "init_fn", "init_kwargs"} <= set(parameters)
    assert str(parameters[:2])[1:-1] in session[18].printed


def test_complete_pipeline(session: dict[int, Outcome], config: dict[str, Any]) -> None:
    assert session[19]["loaded_config"] == config
    model = session[19]["model"]
    check_answers(model, model.encoder, None)
    model.train()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = session[19]["optimizer"]
    session[19]["criterion"](model(draw(16, 784)), torch.arange(16) % 10).backward()
    optimizer.step()
    assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    json.dumps(session[19]["loaded_config"])
