"""Wiring and layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from difflut.layers import BaseLUTLayer, FeatureGroupsLayer, LayerConfig, LearnableLayer, RandomLayer
from difflut.layers.feature_groups_layer import wire_groups
from difflut.layers.image_windows import list_windows
from difflut.layers.wiring import draw_covering_rows, draw_distinct_rows
from difflut.nodes import DWNNode, NodeConfig
from difflut.registry import REGISTRY
from difflut.rules import gather_pins

LAYERS = REGISTRY.list_layers()
NODES = REGISTRY.list_nodes()


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**32))
def test_covering_rows_use_inputs_equally_and_never_twice_in_a_row(
    inputs: int, rows: int, width: int, seed: int
) -> None:
    wiring = draw_covering_rows(inputs, rows, width, torch.Generator().manual_seed(seed))
    assert wiring.shape == (rows, width)
    assert wiring.dtype == torch.int64
    uses = torch.bincount(wiring.flatten(), minlength=inputs)
    assert len(uses) == inputs
    assert set(uses.tolist()) <= {rows * width // inputs, -(-rows * width // inputs)}
    if width <= inputs:
        for row in wiring.tolist():
            assert len(set(row)) == width


def test_covering_rows_are_not_in_order() -> None:
    wiring = draw_covering_rows(100, 20, 5, torch.Generator().manual_seed(0))
    assert (wiring.diff(dim=1) > 0).float().mean() < 0.7


@given(st.integers(1, 20), st.integers(1, 10), st.integers(1, 30))
def test_distinct_rows(inputs: int, rows: int, width: int) -> None:
    wiring = draw_distinct_rows(inputs, rows, width, torch.Generator().manual_seed(0))
    assert wiring.shape == (rows, width)
    for row in wiring.tolist():
        assert len(set(row)) == min(width, inputs)
        assert set(row) <= set(range(inputs))


def reference_forward(layer: torch.nn.Module, x: Tensor) -> Tensor:
    """Eval mode by hand: one node, one sample at a time."""
    assert isinstance(layer, BaseLUTLayer)
    table, mapping = layer.bank.truth_table(), layer.mapping()
    outputs = []
    for sample in x:
        row: list[float] = []
        for node in range(layer.output_size):
            address = sum(2**j for j in range(layer.n) if sample[mapping[node, j]] >= 0.5)
            row.extend(table[node, :, address].float().tolist())
        outputs.append(row)
    return torch.tensor(outputs)


@pytest.mark.parametrize("layer_name", LAYERS)
@pytest.mark.parametrize("node_name", NODES)
def test_eval_mode_is_tables_behind_the_mapping(layer_name: str, node_name: str) -> None:
    layer = REGISTRY.get_layer(layer_name)(9, 7, node_name, n=3, node_kwargs={"output_dim": 2}).eval()
    x = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    assert layer.output_width == 14
    assert torch.equal(layer(x), reference_forward(layer, x))


@pytest.mark.parametrize("layer_name", LAYERS)
def test_mapping_is_what_training_reads(layer_name: str) -> None:
    layer = REGISTRY.get_layer(layer_name)(20, 5, "dwn", n=4)
    features = torch.rand(20, 3)
    mapping = layer.mapping()
    assert mapping.dtype == torch.int64
    assert mapping.shape == (5, 4)
    assert torch.equal(gather_pins(layer.select_pins(features)), features[mapping])
    assert torch.equal(layer.get_mapping(features.t()), features.t()[:, mapping])


@pytest.mark.parametrize("layer_name", LAYERS)
def test_a_node_config_says_the_same_as_a_table(layer_name: str) -> None:
    make = REGISTRY.get_layer(layer_name)
    config = NodeConfig(output_dim=2, init_fn="uniform", init_kwargs={"a": 0.0}, extra_params={"temperature": 0.5})
    table = {"output_dim": 2, "init_fn": "uniform", "init_kwargs": {"a": 0.0}, "temperature": 0.5}
    first, second = (make(30, 4, "probabilistic", n=3, node_kwargs=arguments) for arguments in (config, table))
    x = torch.rand(6, 30)
    assert torch.equal(first(x), second(x))
    assert first.output_width == 8


@pytest.mark.parametrize("layer_name", LAYERS)
def test_layers_depend_on_their_seed_only(layer_name: str) -> None:
    state = torch.get_rng_state()
    make = REGISTRY.get_layer(layer_name)
    first, second, other = make(30, 20, "dwn"), make(30, 20, "dwn"), make(30, 20, "dwn", seed=43)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert torch.equal(first.mapping(), other.mapping()) == (layer_name == "feature_groups")
    assert not torch.equal(first.bank.get_parameter("luts"), other.bank.get_parameter("luts"))


@pytest.mark.parametrize("layer_name", LAYERS)
def test_pins_per_node_can_be_given_either_way(layer_name: str) -> None:
    make = REGISTRY.get_layer(layer_name)
    assert make(30, 4, DWNNode).n == 6
    assert make(30, 4, DWNNode, n=3).n == 3
    for node_kwargs in ({"input_dim": 5}, NodeConfig(input_dim=5)):
        assert make(30, 4, DWNNode, node_kwargs=node_kwargs).n == 5
        assert make(30, 4, DWNNode, n=5, node_kwargs=node_kwargs).n == 5
        with pytest.raises(ValueError, match=r"n is 3.*5"):
            make(30, 4, DWNNode, n=3, node_kwargs=node_kwargs)


@pytest.mark.parametrize("layer_name", LAYERS)
def test_wrong_use_is_refused(layer_name: str) -> None:
    make = REGISTRY.get_layer(layer_name)
    with pytest.raises(ValueError, match="Unknown node 'nothing'"):
        make(30, 4, "nothing")
    with pytest.raises(TypeError, match="wings"):
        make(30, 4, "dwn", node_kwargs={"wings": 2})
    for bad_type in (torch.nn.Linear, 3):
        with pytest.raises(TypeError, match="node_type is"):
            make(30, 4, bad_type)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="node_kwargs is"):
        make(30, 4, "dwn", node_kwargs=[1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="layer_config is"):
        make(30, 4, "dwn", layer_config={"flip_probability": 0.5})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="input_size"):
        make(0, 4, "dwn")
    for bad in (0, 2.0):
        with pytest.raises(ValueError, match=f"n is {bad}"):
            make(30, 4, "dwn", n=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="output_size"):
        make(30, -1, "dwn")
    with pytest.raises(ValueError, match=r"expected \(batch, 30\)"):
        make(30, 4, "dwn")(torch.rand(2, 31))


@pytest.mark.parametrize("make", [RandomLayer, LearnableLayer])
def test_input_groups_divide_the_inputs(make: Any) -> None:
    mapping = make(30, 10, "dwn", n=3, input_groups=5).mapping()
    group_of_pin = mapping // 6
    assert (group_of_pin == group_of_pin[:, :1]).all()
    assert torch.bincount(group_of_pin[:, 0]).tolist() == [2] * 5
    for bad in (4, 0, -1, 2.0):
        with pytest.raises(ValueError, match=f"input_groups is {bad}"):
            make(30, 10, "dwn", input_groups=bad)


@pytest.mark.parametrize("make", [RandomLayer, LearnableLayer])
def test_input_groups_may_be_given_and_overlap(make: Any) -> None:
    groups = torch.tensor([[0, 2, 4, 6], [4, 5, 6, 7], [9, 1, 3, 8]])
    layer = make(10, 9, "dwn", n=2, input_groups=groups)
    assert layer.mapping().shape == (9, 2)
    reads = layer.candidates.flatten(1) if make is LearnableLayer else layer.mapping()
    fitting = [[set(row) <= set(group) for group in groups.tolist()] for row in reads.tolist()]
    assert torch.tensor(fitting).any(1).all()
    assert torch.tensor(fitting).sum(0).tolist() == [3, 3, 3]
    for bad in (groups.float(), groups[0], groups[:0], groups + 1, groups - 1):
        with pytest.raises(ValueError, match="input_groups"):
            make(10, 9, "dwn", n=2, input_groups=bad)


@given(st.integers(1, 2), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.data())
def test_windows_are_the_square_parts_of_an_image(
    channels: int, height: int, width: int, num_bits: int, data: st.DataObject
) -> None:
    window = data.draw(st.integers(1, min(height, width)))
    expected = [
        {
            ((channel * height + top + row) * width + left + column) * num_bits + bit
            for channel in range(channels)
            for row in range(window)
            for column in range(window)
            for bit in range(num_bits)
        }
        for top in range(height - window + 1)
        for left in range(width - window + 1)
    ]
    windows = list_windows((channels, height, width), window, num_bits)
    assert [set(inputs) for inputs in windows.tolist()] == expected
    assert windows.shape[1] == channels * window**2 * num_bits
    for bad in (0, min(height, width) + 1, 2.0, None):
        with pytest.raises(ValueError, match=f"window is {bad}"):
            list_windows((channels, height, width), bad, num_bits)  # type: ignore[arg-type]


@pytest.mark.parametrize("layer_name", LAYERS)
def test_a_layer_with_fewer_inputs_than_pins_works(layer_name: str) -> None:
    layer = REGISTRY.get_layer(layer_name)(2, 5, "dwn", n=6).eval()
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert torch.equal(layer(x), reference_forward(layer, x))


def test_coverage_is_true_or_false() -> None:
    with pytest.raises(TypeError, match="ensure_full_input_coverage"):
        RandomLayer(8, 5, "dwn", ensure_full_input_coverage="no")  # type: ignore[arg-type]


def test_random_layer_without_coverage_still_has_distinct_pins() -> None:
    mapping = RandomLayer(8, 50, "dwn", n=6, ensure_full_input_coverage=False).mapping()
    assert all(len(set(row)) == 6 for row in mapping.tolist())
    assert len(set(torch.bincount(mapping.flatten()).tolist())) > 2


@settings(max_examples=20)
@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 20))
def test_candidates_are_capped_and_disjoint_when_possible(inputs: int, n: int, count: int) -> None:
    layer = LearnableLayer(inputs, 7, "dwn", n=n, num_candidates=count)
    count = min(count, inputs)
    assert layer.candidates.shape == (7, n, count)
    for node in layer.candidates.tolist():
        for pin in node:
            assert len(set(pin)) == count
        if n * count <= inputs:
            assert len({index for pin in node for index in pin}) == n * count


def test_learnable_layer_finds_the_only_input_that_matters() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = LearnableLayer(12, 40, "dwn", n=2, num_candidates=6)  # every node can reach every input
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    assert (layer.mapping() == 7).any(1).sum() < 12
    for _ in range(150):
        x = torch.randint(0, 2, (64, 12), generator=generator).float()
        loss = (layer(x) - x[:, 7:8]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = (layer.mapping() == 7).any(1)
    assert found.sum() > 30
    x = torch.randint(0, 2, (200, 12), generator=generator).float()
    assert torch.equal(layer.eval()(x)[:, found], x[:, 7:8].expand(-1, int(found.sum())))


def test_bad_learnable_settings_are_named() -> None:
    with pytest.raises(ValueError, match="num_candidates"):
        LearnableLayer(10, 4, "dwn", num_candidates=0)
    with pytest.raises(ValueError, match="routing_tau"):
        LearnableLayer(10, 4, "dwn", routing_tau=0.0)
    with pytest.raises(ValueError, match="tau_min"):
        LearnableLayer(10, 4, "dwn", tau_min=-1.0)
    with pytest.raises(ValueError, match="tau_decay_iters"):
        LearnableLayer(10, 4, "dwn", tau_decay_iters=0)


def test_routing_cools_down_by_a_tenth_per_decay() -> None:
    layer = LearnableLayer(10, 4, "dwn", routing_tau=2.0, tau_min=0.05, tau_decay_iters=10)
    taus = []
    for iteration in (0, 10, 5, 1000):
        layer.update_tau(iteration)
        taus.append(layer.routing_tau)
    assert taus == pytest.approx([2.0, 0.2, 2 / 10**0.5, 0.05])


@pytest.mark.parametrize(("choices", "share", "replaced"), [(8, 0.25, 2), (8, 0.1, 1), (5, 0.99, 4), (1, 0.5, 0)])
def test_the_worst_candidates_are_drawn_anew_within_their_group(choices: int, share: float, replaced: int) -> None:
    groups = torch.arange(60).view(2, 30)
    layer = LearnableLayer(60, 10, "dwn", n=3, num_candidates=choices, input_groups=groups)
    layer.routing_logits.data.normal_()
    candidates, logits, mapping = layer.candidates.clone(), layer.routing_logits.detach().clone(), layer.mapping()
    layer.redraw_candidates(share, torch.Generator().manual_seed(0))
    assert torch.equal(layer.mapping(), mapping)
    changed = 0
    for node in range(10):
        group = int(candidates[node, 0, 0]) // 30
        for pin in range(3):
            before, after = logits[node, pin].tolist(), layer.routing_logits[node, pin].tolist()
            worst = sorted(range(choices), key=before.__getitem__)[:replaced]
            median = sorted(before)[(choices - 1) // 2]
            assert after == [median if place in worst else before[place] for place in range(choices)]
            for place in range(choices):
                old, new = int(candidates[node, pin, place]), int(layer.candidates[node, pin, place])
                assert new // 30 == group if place in worst else new == old
                changed += new != old
    assert changed >= 0.8 * 30 * replaced


@pytest.mark.parametrize("make", [torch.optim.Adam, partial(torch.optim.SGD, momentum=0.9), torch.optim.SGD])
def test_the_optimizer_forgets_replaced_candidates(make: Callable[..., torch.optim.Optimizer]) -> None:
    layer = LearnableLayer(60, 10, "dwn", n=3, num_candidates=8)
    optimizer = make(layer.parameters(), lr=0.1)
    for _ in range(3):
        layer(torch.rand(16, 60)).square().sum().backward()
        optimizer.step()
    candidates = layer.candidates.clone()
    kept = {name: x for name, x in optimizer.state[layer.routing_logits].items() if x is not None and x.dim() == 3}
    before = {name: x.clone() for name, x in kept.items()}
    layer.redraw_candidates(0.5, optimizer=optimizer)
    replaced = layer.candidates != candidates
    assert 0.4 < replaced.double().mean() < 0.6
    for name, x in kept.items():
        assert not x[replaced].any()
        assert (before[name][replaced] != 0).double().mean() > 0.9
        stays = x == before[name]
        assert 0.5 <= stays.double().mean() < 0.6
    # Steps go on: nothing but the values has changed.
    layer(torch.rand(16, 60)).sum().backward()
    optimizer.step()


def test_redrawing_reaches_every_input() -> None:
    layer = LearnableLayer(40, 1, "dwn", n=1, num_candidates=4)
    torch.manual_seed(0)
    seen = set(layer.candidates.flatten().tolist())
    for _ in range(300):
        layer.redraw_candidates()
        seen |= set(layer.candidates.flatten().tolist())
    assert seen == set(range(40))


@pytest.mark.parametrize("share", [0, 1, -0.5, math.nan])
def test_a_share_of_candidates_is_between_0_and_1(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        LearnableLayer(10, 4, "dwn").redraw_candidates(share)


@pytest.mark.parametrize(
    ("arguments", "expected"), [({}, 0.2), ({"tau_min": 0.5}, 0.5), ({"tau_decay_iters": 500}, 0.1)]
)
def test_routing_cools_in_training_only_if_told_to(arguments: dict[str, Any], expected: float) -> None:
    layer = LearnableLayer(10, 4, "dwn", routing_tau=2.0, **arguments)
    assert layer.cools_in_training == bool(arguments)
    layer.update_tau(1000)
    assert layer.routing_tau == pytest.approx(expected)


def test_a_temperature_that_is_set_is_where_cooling_starts() -> None:
    layer = LearnableLayer(10, 4, "dwn", tau_decay_iters=10)
    layer.update_tau(5)
    layer.set_runtime("routing_tau", 3.0)
    assert layer.routing_tau == 3.0
    layer.update_tau(10)
    assert layer.routing_tau == pytest.approx(0.3)


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 8), st.data())
def test_groups_are_neighbours_read_in_turns(inputs: int, rows: int, width: int, data: st.DataObject) -> None:
    groups = data.draw(st.integers(1, inputs))
    wiring = wire_groups(inputs, rows, width, groups)
    members = [list(range(inputs * group // groups, inputs * (group + 1) // groups)) for group in range(groups)]
    assert [index for inside in members for index in inside] == list(range(inputs))
    for group, inside in enumerate(members):
        reads = wiring[group::groups].flatten().tolist()
        assert reads == [inside[place % len(inside)] for place in range(len(reads))]


def test_a_group_per_feature() -> None:
    layer = FeatureGroupsLayer(6, 4, "dwn", n=3, num_groups=2)
    assert layer.num_groups == 2
    assert layer.mapping().tolist() == [[0, 1, 2], [3, 4, 5], [0, 1, 2], [3, 4, 5]]
    assert FeatureGroupsLayer(20, 4, "dwn", n=3).num_groups == 6
    assert FeatureGroupsLayer(2, 4, "dwn", n=3).num_groups == 1
    default = FeatureGroupsLayer()
    assert (default.input_size, default.output_size, default.n, default.num_groups) == (512, 256, 6, 85)
    for bad in (0, 7, 2.0):
        with pytest.raises(ValueError, match=f"num_groups is {bad}"):
            FeatureGroupsLayer(6, 4, "dwn", num_groups=bad)  # type: ignore[arg-type]


def test_the_training_settings_of_a_layer_can_be_replaced() -> None:
    layer = BaseLUTLayer(20, 5, "dwn", n=4, layer_config=LayerConfig(flip_probability=1.0))
    x = torch.randint(0, 2, (50, 20)).float()
    flipped = layer(x)
    layer.layer_config = None
    assert torch.equal(layer(x), layer.bank.forward_pins(x.t()[layer.mapping()]).flatten(0, 1).t())
    assert not torch.equal(layer(x), flipped)
    assert layer.layer_config == LayerConfig()
