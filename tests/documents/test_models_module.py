"""The guide to models: configurations, published models, settings at run time, saving and loading."""

from __future__ import annotations

import itertools
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

import difflut.models
from difflut.errors import ConfigError
from difflut.models import ModelConfig, SimpleFeedForward
from difflut.nodes import ProbabilisticNode
from tests.documents.session import Corrected, Document, Names, NotCode, Outcome, Outline, Replaced, Run, Saved, Shell
from tests.documents.tables import answer_by_hand
from tests.test_examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
PIXELS, CLASSES = 784, 10
HEAD = (r"^(    def .*|def .*)$", r"\1: ...")
"""Heads of functions without a body get one."""
OTHER_FIELDS = """
        layer_type="random",
        node_type="probabilistic",
        encoder_config={"name": "thermometer", "num_bits": 4},
        node_input_dim=6,
        num_classes=10,
        input_size=784,
"""


def draw_images(count: int) -> Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(2))


def give_images(names: Names) -> None:
    """What the reader has: images to classify and to train with, and functions that train and judge a model."""
    data = torch.utils.data.TensorDataset(draw_images(64), torch.arange(64) % CLASSES)
    loader = torch.utils.data.DataLoader(data, batch_size=32)

    def train_model(model: SimpleFeedForward, batches: Any = loader, num_epochs: int = 1) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        model.train()
        for _ in range(min(num_epochs, 2)):  # what it learns does not matter here
            for x, y in batches:
                optimizer.zero_grad()
                torch.autograd.backward(torch.nn.functional.cross_entropy(model(x), y))
                optimizer.step()

    def evaluate(model: SimpleFeedForward, batches: Any) -> float:
        right = sum(int((model.predict(x) == y).sum()) for x, y in batches)
        return right / len(data)

    names.update(
        input_data=draw_images(5),
        train_data=draw_images(64),
        train_loader=loader,
        test_loader=loader,
        train_model=train_model,
        evaluate=evaluate,
    )


def give_configurations(names: Names) -> None:
    """Folders, and the configuration of an experiment, such as the guide's own example, but smaller."""
    config = yaml.safe_load(DOCUMENT.blocks[13].text)
    config.update(layer_widths=[60, 50], pretrained=False, pretrained_name=None)
    for folder in ("configs", "results"):
        Path(folder).mkdir(exist_ok=True)
    for name in ("my_experiment", "my_model"):
        Path(f"configs/{name}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


NO_TEMPERATURE = "runtime.temperature has no effect on this model"
"""Nodes with a temperature are those of the guide's example; the published mnist_large has others."""

DOCUMENT = Document(
    "models_module.md",
    {
        1: NotCode("a tree of files"),
        2: Run(given=give_images),
        3: Run(),
        4: Run(warns=(NO_TEMPERATURE,)),
        5: Outline(of="difflut.models.model_config"),
        6: Outline(of="difflut.models.base_model", replace=(HEAD,)),
        7: Outline(of="difflut.models.feedforward", replace=(HEAD,)),
        8: Outline(of="difflut.models", replace=((r"^(\w+\(.*\))$", r"def \1: ..."),)),
        9: Run(warns=(NO_TEMPERATURE,) * 4),
        10: Run(given=give_configurations),
        11: Corrected(
            "the fields that stay the same are left out",
            replace=(("        ...\n", OTHER_FIELDS),),
        ),
        12: Run(),
        13: Saved(("example.yaml",)),
        14: NotCode("a tree of files"),
        15: Run(given=lambda names: names.update(config=ModelConfig.from_yaml("configs/my_experiment.yaml"))),
        16: Run(given=lambda names: Path("pretrained/feedforward").mkdir(parents=True)),
        17: Run(),
        18: Shell("python examples/model_system_example.py"),
        19: Replaced(by=20),
        20: Run(),
    },
)


@pytest.mark.parametrize("number", DOCUMENT.numbers((Run, Corrected)))
def test_block_runs(number: int, session: dict[int, Outcome]) -> None:
    DOCUMENT.check_run(number, session[number])


@pytest.mark.parametrize("number", DOCUMENT.numbers(Outline))
def test_outline_is_that_of_the_library(number: int) -> None:
    DOCUMENT.check_outline(number)


@pytest.mark.parametrize("name", ["layer_type", "encoder_config", "num_classes"])
def test_fields_without_a_default_must_be_given(name: str) -> None:
    values = yaml.safe_load(DOCUMENT.blocks[13].text)
    del values[name]
    with pytest.raises(ConfigError, match=f"'{name}' is missing"):
        ModelConfig(**values)


def test_example_script_is_one_of_those_that_test_examples_runs() -> None:
    shell = DOCUMENT.plan[18]
    assert isinstance(shell, Shell)
    assert shell.run in DOCUMENT.blocks[18].text
    assert ROOT / shell.run.removeprefix("python ") in EXAMPLES


# -- values ------------------------------------------------------------------------------------------------------------


def answer(model: SimpleFeedForward, x: Tensor) -> Tensor:
    """What the model's tables answer, read one after the other."""
    quantized = model.input_format.quantize(x.flatten(1))
    return answer_by_hand(model.encoder, model.lut_layers(), model.output_layer, quantized)


def test_files_of_the_tree_are_there() -> None:
    folder = Path(difflut.models.__file__).parent
    for name in ("base_model.py", "model_config.py", "feedforward.py", "factory.py", "MODEL_USAGE_GUIDE.md"):
        assert name in DOCUMENT.blocks[1].text
        assert (folder / name).is_file()
    for name in ("README.md", "feedforward/mnist_large.yaml", "feedforward/mnist_large.pth"):
        assert (folder / "pretrained" / name).is_file()


def test_published_model_answers(session: dict[int, Outcome]) -> None:
    model, x = session[2]["model"], session[2]["input_data"]
    assert not model.training
    assert session[2]["output"].shape == (len(x), CLASSES)
    assert torch.equal(session[2]["output"].detach(), answer(model, x))


def test_model_from_a_config(session: dict[int, Outcome]) -> None:
    model, x = session[3]["model"], draw_images(64).flatten(1)
    assert [(layer.input_size, layer.output_size, layer.n) for layer in model.lut_layers()] == [
        (PIXELS * 4, 1024, 6),
        (1024, 1000, 6),
    ]
    low, high = model.input_format.quantize(x).aminmax(dim=0)
    steps = torch.arange(1, 5) / 5
    torch.testing.assert_close(model.encoder.thresholds, low[:, None] + steps * (high - low)[:, None])
    few = draw_images(3)
    assert torch.equal(model.eval()(few).detach(), answer(model, few))


def test_override_of_the_eval_mode_acts_on_the_published_model(session: dict[int, Outcome]) -> None:
    model, published = session[4]["model"], session[2]["model"]
    assert model.config.runtime["temperature"] == 0.5
    x = draw_images(20)
    assert torch.equal(model.class_counts(x), published.class_counts(x)), "the hardware does not change"
    with torch.no_grad():
        assert torch.equal(published(x), published(x))
        assert not torch.equal(model(x), model(x)), "answers are drawn anew in every call"


def test_override_of_the_temperature_acts_on_the_model_of_the_example() -> None:
    values = {**yaml.safe_load(DOCUMENT.blocks[13].text), "layer_widths": [50]}
    models = [
        difflut.models.build_model(ModelConfig(**values), load_weights=False, overrides={"temperature": temperature})
        for temperature in (1.0, 0.5)
    ]
    mild, sharp = (model.lut_layers()[0].get_submodule("bank") for model in models)
    assert isinstance(mild, ProbabilisticNode)
    assert isinstance(sharp, ProbabilisticNode)
    torch.testing.assert_close(mild.soft_table(), torch.sigmoid(mild.raw_weights).transpose(1, 2))
    torch.testing.assert_close(sharp.soft_table(), torch.sigmoid(2 * mild.raw_weights).transpose(1, 2))


def test_accuracy_does_not_depend_on_the_temperature(session: dict[int, Outcome]) -> None:
    lines = session[9].printed.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Temp 0.1", "Temp 0.5", "Temp 1.0", "Temp 2.0"]
    assert len({line.split(": ")[1] for line in lines}) == 1


def test_training_and_saving(session: dict[int, Outcome], tmp_path: Path) -> None:
    model = session[10]["model"]
    untrained = difflut.models.build_model(session[10]["config"]).state_dict()
    trained = model.state_dict()
    assert not torch.equal(trained["layers.0.bank.raw_weights"], untrained["layers.0.bank.raw_weights"])
    model.save_config(tmp_path / "model.yaml")
    model.save_weights(tmp_path / "model.pth")
    fresh = difflut.models.build_model(tmp_path / "model.yaml", load_weights=False)
    fresh.load_weights(tmp_path / "model.pth")
    x = draw_images(30)
    assert torch.equal(fresh.eval()(x), model.eval()(x))


def test_sweep_builds_every_combination(session: dict[int, Outcome]) -> None:
    combinations = list(itertools.product([[512, 512], [1024, 1000], [2048, 2048]], [0.5, 1.0, 2.0]))
    assert (session[11]["widths"], session[11]["temp"]) == combinations[-1]
    model = session[11]["model"]
    assert [layer.output_size for layer in model.lut_layers()] == [2048, 2048]
    assert {layer.bank.temperature for layer in model.lut_layers()} == {2.0}


def test_transfer_builds_another_model_and_leaves_the_published_one_usable(session: dict[int, Outcome]) -> None:
    source, target = session[12]["source_model"], session[12]["target_model"]
    assert target.output_layer.k == target.config.num_classes == 100
    assert source.output_layer.k == CLASSES
    shared = [
        (mine, theirs)
        for (mine, theirs) in zip(source.state_dict().items(), target.state_dict().items(), strict=False)
        if mine[0] == theirs[0] and mine[1].shape == theirs[1].shape
    ]
    assert len(shared) >= len(source.lut_layers())


def test_example_configuration_is_read_and_written_unchanged(tmp_path: Path) -> None:
    values = yaml.safe_load(DOCUMENT.blocks[13].text)
    (tmp_path / "example.yaml").write_text(DOCUMENT.blocks[13].text, encoding="utf-8")
    config = ModelConfig.from_yaml(tmp_path / "example.yaml")
    assert {name: getattr(config, name) for name in values} == values
    config.to_yaml(tmp_path / "again.yaml")
    assert ModelConfig.from_yaml(tmp_path / "again.yaml") == config


def test_example_configuration_is_what_the_model_has() -> None:
    config = ModelConfig(**{**yaml.safe_load(DOCUMENT.blocks[13].text), "layer_widths": [50, 40]})
    model = difflut.models.build_model(config, load_weights=False).train()
    model.fit_encoder(draw_images(40))
    scores = model(draw_images(10))
    assert model.get_regularization_loss() > 0
    (scores.sum() + model.get_regularization_loss()).backward()
    for layer in model.lut_layers():
        bank = layer.get_submodule("bank")
        assert isinstance(bank, ProbabilisticNode)
        bound = (6 / (2**6 + 1)) ** 0.5  # of xavier_uniform, from 64 entries to one output
        assert 0.9 * bound < bank.raw_weights.abs().max() <= bound
        assert bank.temperature == 1.0


def test_published_own_model_is_found_by_name(session: dict[int, Outcome]) -> None:
    trained, loaded = session[16]["model"], session[17]["model"]
    x = draw_images(30)
    assert torch.equal(trained.eval()(x), loaded(x))
    assert loaded.config.pretrained_name == "my_model"


def test_old_way_is_gone_and_the_new_one_works(session: dict[int, Outcome]) -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module("experiments.models.layered_feedforward")
    assert isinstance(session[20]["model"], SimpleFeedForward)
    assert [layer.output_size for layer in session[20]["model"].lut_layers()] == [60, 50]
