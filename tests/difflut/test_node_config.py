"""NodeConfig: what it accepts, and that nodes and layers get what it says."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from difflut.nodes import LinearLUTNode, PolyLUTNode
from difflut.nodes.node_config import NodeConfig
from difflut.nodes.utils.regularizers import l2_regularizer
from difflut.registry import REGISTRY


@pytest.mark.parametrize("name", REGISTRY.list_nodes())
def test_every_family_is_built_from_a_config(name: str) -> None:
    config = NodeConfig(input_dim=3, output_dim=2, init_fn="uniform", init_kwargs={"a": 0.25, "b": 0.5})
    node = REGISTRY.get_node(name)(**config.to_dict())
    assert (node.num_inputs, node.num_outputs, node.num_nodes) == (3, 2, 1)
    for parameter in node.parameters():
        assert parameter.min() >= 0.25
        assert parameter.max() < 0.5


@pytest.mark.parametrize("name", REGISTRY.list_nodes())
@pytest.mark.parametrize(
    "regularizers",
    [
        ["l2"],
        {"l2": 1.0},
        {"l2": l2_regularizer},
        {"l2": (l2_regularizer, 1.0)},
        {"l2": [l2_regularizer, 1.0, {"num_samples": 100}]},
        {"l2": {"fn": l2_regularizer, "weight": 1.0, "kwargs": {}}},
        {"l2": {"weight": 1.0}},
    ],
)
def test_configured_regularisers_act(name: str, regularizers: Any) -> None:
    config = NodeConfig(input_dim=3, regularizers=regularizers)
    node = REGISTRY.get_node(name)(**config.to_dict()).eval()
    assert node.regularization().item() == l2_regularizer(node).item()
    torch.autograd.backward(node.train().regularization())
    assert all(parameter.grad is not None for parameter in node.parameters())


def test_what_is_none_or_empty_is_left_to_the_family() -> None:
    assert NodeConfig().to_dict() == {}
    assert NodeConfig(regularizers={}, init_kwargs={}, extra_params=None).to_dict() == {}
    config = NodeConfig(input_dim=6, output_dim=1, extra_params={"degree": None})
    assert config.to_dict() == {"input_dim": 6, "output_dim": 1}
    assert PolyLUTNode(**config.to_dict()).degree == 3
    assert PolyLUTNode(**NodeConfig(extra_params={"degree": 2}).to_dict()).degree == 2
    assert NodeConfig(extra_params={"ste": False}).to_dict() == {"ste": False}


def test_functions_are_kept_as_they_are() -> None:
    init = partial(nn.init.constant_, val=0.75)
    config = NodeConfig(input_dim=2, init_fn=init)
    assert config.to_dict()["init_fn"] is init
    assert config.copy().init_fn is init
    assert (LinearLUTNode(**config.to_dict()).bias == 0.75).all()
    assert "partial" in repr(config)


def test_copies_share_no_tables() -> None:
    config = NodeConfig(init_kwargs={"a": 1}, regularizers={"l2": ["l2", 0.5]}, extra_params={"table": {"inner": [1]}})
    other = config.copy()
    assert other == config
    arguments = config.to_dict()
    for copied in (other.extra_params, arguments):
        assert copied is not None
        copied["table"]["inner"].append(2)
    assert other.init_kwargs is not None
    other.init_kwargs["a"] = 2
    arguments["regularizers"]["l2"].append({})
    assert config == NodeConfig(
        init_kwargs={"a": 1}, regularizers={"l2": ["l2", 0.5]}, extra_params={"table": {"inner": [1]}}
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input_dim": 2.0}, TypeError, r"input_dim is 2\.0"),
        ({"input_dim": True}, TypeError, "input_dim is True"),
        ({"output_dim": 0}, ValueError, "output_dim is 0"),
        ({"init_fn": 3}, TypeError, "init_fn is 3"),
        ({"init_kwargs": [1]}, TypeError, r"init_kwargs is \[1\]"),
        ({"extra_params": "degree"}, TypeError, "extra_params is 'degree'"),
        ({"extra_params": {"input_dim": 4}}, ValueError, "extra_params holds 'input_dim'"),
        ({"regularizers": ["l3"]}, ValueError, "Unknown regularizer 'l3'"),
        ({"regularizers": {"l2": "much"}}, ValueError, "l2 has the weight 'much'"),
    ],
)
def test_bad_fields_are_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        NodeConfig(**arguments)
