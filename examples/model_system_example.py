"""Models from configurations, by name and from files: python examples/model_system_example.py

Needs scikit-learn, for its digits. Writes into a temporary folder.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from difflut import Dataset, load_dataset
from difflut.models import (
    BaseLUTModel,
    ModelConfig,
    build_model,
    get_pretrained_model_info,
    list_pretrained_models,
)

CONFIG = ModelConfig(
    model_type="feedforward",
    layer_type="random",
    node_type="dwn",
    encoder_config={"name": "thermometer", "num_bits": 3},
    node_input_dim=6,
    layer_widths=[200],
    num_classes=10,
    runtime={"output_tau": 3.0},
)


def accuracy(model: BaseLUTModel, data: Dataset) -> float:
    """Share of the test samples that the model, as hardware, gets right."""
    return float((model.predict(data.x_test) == data.y_test).float().mean())


def train_from_config(data: Dataset) -> BaseLUTModel:
    model = build_model(CONFIG)
    model.fit_encoder(data.x_train)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(30):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(data.x_train), data.y_train)
        torch.autograd.backward(loss + model.get_regularization_loss())
        optimizer.step()
    print(f"1. trained from a config: {accuracy(model, data):.1%} of the test digits")
    return model.eval()


def list_models() -> None:
    print("2. pretrained models:")
    for model_type, names in list_pretrained_models().items():
        for name in names:
            stated = get_pretrained_model_info(name)["metadata"].get("test_accuracy")
            print(f"   {model_type}/{name}" + ("" if stated is None else f", which states {stated:.1%}"))


def load_by_name(data: Dataset) -> None:
    print(f"3. the pretrained digits: {accuracy(build_model('digits'), data):.1%}")


def override_runtime(data: Dataset) -> None:
    model = build_model("digits", overrides={"eval_mode": "sampling", "sampling_seed": 0})
    sampled = float((model(data.x_test).argmax(1) == data.y_test).float().mean())
    print(f"4. with answers drawn from what each table entry has learned: {sampled:.1%}")
    model.apply_runtime_overrides({"eval_mode": "expectation"})


def save_and_load(model: BaseLUTModel, data: Dataset, folder: Path) -> None:
    model.save_config(folder / "mine.yaml")
    model.save_weights(folder / "mine.pth")
    again = build_model(folder / "mine.yaml")
    again.load_weights(folder / "mine.pth")
    assert torch.equal(again.predict(data.x_test), model.predict(data.x_test))
    print(f"5. saved, loaded, still {accuracy(again, data):.1%}")


def build_from_yaml(data: Dataset, folder: Path) -> None:
    model = build_model(folder / "mine.yaml", overrides={"seed": 1})
    model.fit_encoder(data.x_train)
    print(f"6. untrained from the same file, wired otherwise: {accuracy(model, data):.1%}")


def main() -> None:
    data = load_dataset("digits")
    with tempfile.TemporaryDirectory() as name:
        model = train_from_config(data)
        list_models()
        load_by_name(data)
        override_runtime(data)
        save_and_load(model, data, Path(name))
        build_from_yaml(data, Path(name))


if __name__ == "__main__":
    main()
