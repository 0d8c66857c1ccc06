"""Convolutional layers and pooling, against loops over samples, positions, channels and nodes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from difflut.layers import (
    BitPlanes,
    ConvolutionalLayer,
    ConvolutionConfig,
    LayerConfig,
    LutStage,
    OrPool2d,
    convolutional_layer,
)
from difflut.registry import REGISTRY

LAYERS = REGISTRY.list_layers()
DRAWN = ["learnable", "random"]  # layers whose wiring is drawn, and can be confined to groups of inputs
NODES = REGISTRY.list_nodes()


def make_layer(node_type: str = "dwn", n: int = 2, *, arguments: dict[str, Any] | None = None, **shape: Any) -> Any:
    fields = {"tree_depth": 1, "in_channels": 2, "out_channels": 3, "receptive_field": 2, **shape}
    return ConvolutionalLayer(ConvolutionConfig(**fields), node_type, n_inputs_per_node=n, **(arguments or {}))


def draw_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).float()


def read_window(image: Tensor, config: ConvolutionConfig, row: int, column: int) -> Tensor:
    """What one window of one image (channels, height, width) holds, pixel by pixel."""
    values = []
    for channel, i, j in itertools.product(
        range(config.in_channels), range(config.receptive_field), range(config.receptive_field)
    ):
        y, x = row * config.stride + i - config.padding, column * config.stride + j - config.padding
        inside = 0 <= y < image.shape[1] and 0 <= x < image.shape[2]
        values.append(image[channel, y, x] if inside else torch.zeros(()))
    return torch.stack(values)


def reference_forward(layer: ConvolutionalLayer, images: Tensor) -> Tensor:
    """One position of one sample at a time; in eval mode also one node at a time, read from its table."""
    config, n = layer.convolution_config, layer.n
    height = (images.shape[2] + 2 * config.padding - config.receptive_field) // config.stride + 1
    width = (images.shape[3] + 2 * config.padding - config.receptive_field) // config.stride + 1
    samples = []
    for image in images:
        answers = []
        for row, column in itertools.product(range(height), range(width)):
            values = read_window(image, config, row, column)
            for number, level in enumerate(layer.lut_levels()):
                nodes = config.out_channels * n ** (config.tree_depth - number)
                first = [[int(pin) for pin in node] for node in level.mapping()]
                pins_of = first if number == 0 else [[node * n + pin for pin in range(n)] for node in range(nodes)]
                pins = torch.stack([torch.stack([values[pin] for pin in pins_of[node]]) for node in range(nodes)])
                if layer.training:
                    values = level.bank.forward_pins(pins.unsqueeze(2)).flatten()
                else:
                    table = level.bank.truth_table()
                    addresses = [sum(2**pin for pin in range(n) if node[pin] >= 0.5) for node in pins.tolist()]
                    values = torch.stack([table[node, 0, addresses[node]] for node in range(nodes)]).float()
            answers.append(values)
        samples.append(torch.stack(answers, dim=1).view(config.out_channels, height, width))
    return torch.stack(samples)


SHAPES: list[dict[str, Any]] = [
    {},
    {"tree_depth": 0, "receptive_field": 1},
    {"tree_depth": 2, "receptive_field": 3, "padding": 1},
    {"receptive_field": 3, "stride": 2, "padding": 2},
    {"in_channels": 1, "out_channels": 1, "stride": 3},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("layer_type", LAYERS)
def test_eval_mode_is_trees_of_tables_at_every_position(shape: dict[str, Any], n: int, layer_type: str) -> None:
    layer = make_layer(n=n, arguments={"layer_type": layer_type}, **shape).eval()
    images = torch.rand(2, layer.convolution_config.in_channels, 4, 5, generator=torch.Generator().manual_seed(1))
    expected = reference_forward(layer, images)
    assert torch.equal(layer(images), expected)
    assert layer.convolution_config.output_size(4, 5) == expected.shape[2:]


@pytest.mark.parametrize("node_type", NODES)
def test_eval_mode_of_every_node_type(node_type: str) -> None:
    layer = make_layer(node_type).eval()
    images = draw_images(3, 2, 3, 4)
    assert torch.equal(layer(images), reference_forward(layer, images))


@pytest.mark.parametrize("node_type", NODES)
@pytest.mark.parametrize("shape", SHAPES[2:4], ids=str)
def test_training_answers_and_gradients_are_those_of_the_loops(node_type: str, shape: dict[str, Any]) -> None:
    layer = make_layer(node_type, **shape)
    for level in layer.lut_levels():
        if hasattr(level.bank, "draw_noise"):
            level.bank.draw_noise = torch.zeros_like
    images = torch.rand(2, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    found = []
    for forward in (layer, lambda x: reference_forward(layer, x)):
        x = images.clone().requires_grad_()
        output = forward(x)
        weights = torch.linspace(-1, 1, output.numel()).view(output.shape)
        gradients = torch.autograd.grad((output * weights).sum(), [x, *layer.parameters()])
        found.append([output.detach(), *gradients])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert all(gradient.abs().max() > 0 for gradient in found[0][1:])


def test_learnable_wiring_gets_the_gradient_of_mixed_candidates() -> None:
    layer = make_layer("probabilistic", arguments={"layer_type": "learnable"}, tree_depth=0)
    first = layer.first_level
    images = torch.rand(2, 2, 3, 3)
    logits = torch.autograd.grad(layer(images).sum(), first.routing_logits)[0]

    pins = torch.zeros(3, 2, 8, requires_grad=True)  # what the pins read at 2 samples times 4 positions
    windows = torch.stack(
        [read_window(image, layer.convolution_config, i, j) for i in (0, 1) for j in (0, 1) for image in images], dim=1
    )
    weights = torch.softmax(first.routing_logits.detach(), dim=2).requires_grad_()
    mixed = torch.einsum("npk,npkb->npb", weights, windows[first.candidates])
    first.bank.forward_pins(windows[first.mapping()] + pins).sum().backward()
    expected = torch.autograd.grad(mixed, weights, pins.grad)[0]
    expected = weights * (expected - (weights * expected).sum(2, keepdim=True))
    assert torch.allclose(logits, expected, atol=1e-6)


def test_learnable_wiring_finds_the_only_pixel_that_matters() -> None:
    config = ConvolutionConfig(tree_depth=0, in_channels=1, out_channels=30, receptive_field=3)
    layer = ConvolutionalLayer(config, "dwn", layer_type="learnable", n_inputs_per_node=2)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(0)
    assert (layer.first_level.mapping() == 5).any(1).sum() < 15
    for _ in range(150):
        x = torch.randint(0, 2, (8, 1, 6, 6), generator=generator).float()
        loss = (layer(x) - x[:, :, 1:5, 2:6]).square().mean()  # pixel 5 of a 3x3 window: middle row, last column
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (layer.first_level.mapping() == 5).any(1).sum() > 24


# -- wiring ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer_type", DRAWN)
@pytest.mark.parametrize("grouped", [False, True])
def test_every_tree_has_its_own_wiring_and_tables(layer_type: str, grouped: bool) -> None:
    arguments = {"layer_type": layer_type, "grouped_connections": grouped}
    layer = make_layer(n=3, arguments=arguments, out_channels=16, receptive_field=4)
    trees = layer.first_level.mapping().view(16, -1)
    assert len({tuple(tree) for tree in trees.tolist()}) == 16
    for level in layer.lut_levels():
        assert len({tuple(table.flatten().tolist()) for table in level.bank.luts.view(16, -1)}) == 16


@pytest.mark.parametrize("layer_type", DRAWN)
@pytest.mark.parametrize("grouped", [False, True])
def test_layers_depend_on_their_seed_only(layer_type: str, grouped: bool) -> None:
    state = torch.get_rng_state()
    arguments = {"layer_type": layer_type, "grouped_connections": grouped}
    first, second, other = (make_layer(arguments=arguments, receptive_field=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.first_level.mapping(), other.first_level.mapping())


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.sampled_from(DRAWN))
def test_grouped_luts_read_one_channel_each_and_channels_are_dealt_evenly(
    channels: int, trees: int, size: int, n: int, layer_type: str
) -> None:
    layer = make_layer(
        n=n,
        arguments={"layer_type": layer_type, "grouped_connections": True},
        in_channels=channels,
        out_channels=trees,
        receptive_field=size,
    )
    first = layer.first_level
    reachable = (first.candidates if layer_type == "learnable" else first.mapping()).flatten(1)
    channel_of_pin = reachable // size**2
    assert (channel_of_pin == channel_of_pin[:, :1]).all()
    luts = torch.bincount(channel_of_pin[:, 0], minlength=channels)
    assert len(luts) == channels
    assert luts.max() - luts.min() <= 1
    if layer_type == "random":
        for channel in range(channels):
            uses = torch.bincount(reachable[channel_of_pin[:, 0] == channel].flatten() % size**2, minlength=size**2)
            assert uses.max() - uses.min() <= 2  # a group begins and ends within a permutation of the window
        if n <= size**2:
            assert all(len(set(pins)) == n for pins in reachable.tolist())


def test_coverage_is_refused_where_the_first_level_is_too_small() -> None:
    covering = {"ensure_full_coverage": True}
    with pytest.raises(ValueError, match=r"6 LUTs .* cannot cover 7"):
        make_layer(arguments={**covering, "grouped_connections": True}, in_channels=7)
    layer = make_layer(arguments={**covering, "grouped_connections": True}, in_channels=6)
    assert set((layer.first_level.mapping() // 4).flatten().tolist()) == set(range(6))
    with pytest.raises(ValueError, match=r"12 pins .* cannot cover 16 inputs"):
        make_layer(arguments=covering, in_channels=4)
    layer = make_layer(arguments=covering, in_channels=3)
    assert set(layer.first_level.mapping().flatten().tolist()) == set(range(12))


# -- training ----------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_is_flipped_in_every_window_that_reads_it() -> None:
    # Four trees of a single LUT that answers with its only input: each output shows one of the window's four pixels.
    config = ConvolutionConfig(tree_depth=0, in_channels=1, out_channels=4, receptive_field=2, padding=1)
    layer = ConvolutionalLayer(config, "dwn", n_inputs_per_node=1, layer_config=LayerConfig(flip_probability=0.25))
    with torch.no_grad():
        layer.first_level.bank.luts.copy_(torch.tensor([0.0, 1.0]))  # type: ignore[operator]
    tree_of_pixel = layer.first_level.mapping().flatten().argsort()
    images = draw_images(50, 1, 6, 6)
    seen = layer(images)
    # The image as it was read through each pixel of the window; a window begins one row and column before the image.
    read = [seen[:, tree_of_pixel[2 * i + j], 1 - i : 7 - i, 1 - j : 7 - j] for i in (0, 1) for j in (0, 1)]
    assert all(torch.equal(read[0], other) for other in read[1:])
    share = (read[0] != images[:, 0]).float().mean().item()
    assert share == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / images.numel()) ** 0.5)
    assert not seen[:, tree_of_pixel[0], 0].any()  # the padding is a constant, which nothing flips
    assert not torch.equal(layer(images), seen)
    assert torch.equal(layer.eval()(images)[:, tree_of_pixel[0], 1:, 1:], images[:, 0])


@pytest.mark.parametrize(("mode", "axes"), [("layerwise", (0, 1, 2, 3)), ("nodewise", (0, 2, 3)), ("batch", (1, 2, 3))])
def test_the_gradient_of_the_output_is_stabilised(mode: str, axes: tuple[int, ...]) -> None:
    layer = make_layer("probabilistic", receptive_field=3, padding=1)
    layer.layer_config = LayerConfig(grad_stabilization=mode, grad_target_std=2.0)
    seen: list[Tensor] = []
    forward = layer.levels[-1].bank.forward_pins

    def forward_and_watch(pins: Tensor) -> Any:
        output = forward(pins)
        output.register_hook(seen.append)
        return output

    layer.levels[-1].bank.forward_pins = forward_and_watch
    output = layer(draw_images(5, 2, 4, 6))
    output.backward(1e-4 * torch.randn(output.shape, generator=torch.Generator().manual_seed(0)))
    grad = seen[0].view(3, 4, 6, 5).permute(3, 0, 1, 2)  # channel, row, column, sample
    deviation = grad.square().mean(axes).sqrt()
    assert torch.allclose(deviation, torch.tensor(2.0), rtol=1e-4)


def test_regularizers_of_all_levels_add_up() -> None:
    layer = make_layer(tree_depth=2, arguments={"node_kwargs": {"regularizers": {"l2": 0.5}}})
    terms = [level.regularization() for level in layer.lut_levels()]
    assert len(terms) == 3
    assert layer.regularization().item() == pytest.approx(sum(term.item() for term in terms))
    assert layer.regularization() > 0
    layer.set_regularizers(None)
    assert layer.regularization() == 0


def test_predictions_in_pieces_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, images = make_layer().eval(), draw_images(7, 2, 4, 4)
    whole = layer(images)
    sizes: list[int] = []
    answer = layer._answer

    def answer_and_count(part: Tensor) -> Any:
        sizes.append(len(part))
        return answer(part)

    monkeypatch.setattr(layer, "_answer", answer_and_count)
    pins = 9 * 6 * 2  # positions, LUTs in the first level, pins of each
    monkeypatch.setattr(convolutional_layer, "_PINS_AT_A_TIME", 3 * pins)
    assert torch.equal(layer(images), whole)
    assert sizes == [3, 3, 1]
    assert layer(images[:0]).shape == (0, 3, 3, 3)
    monkeypatch.setattr(convolutional_layer, "_PINS_AT_A_TIME", 1)
    assert torch.equal(layer(images), whole)


# -- pooling -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel_size", "stride"), [(2, None), (3, None), (2, 1), (2, 3), (1, 2)])
def test_pooling_is_the_or_of_every_window(kernel_size: int, stride: int | None) -> None:
    pool, images = OrPool2d(kernel_size, stride), draw_images(2, 3, 7, 6)
    output = pool(images)
    assert output.shape[1:] == pool.shape_of_output((3, 7, 6))
    step = stride or kernel_size
    for sample, channel, i, j in itertools.product(*map(range, output.shape)):
        window = images[sample, channel, i * step : i * step + kernel_size, j * step : j * step + kernel_size]
        assert window.shape == (kernel_size, kernel_size)
        assert output[sample, channel, i, j] == float(any(window.flatten().tolist()))
    assert output.shape[2] == len(range(0, 7 - kernel_size + 1, step))


def test_the_gradient_of_pooling_goes_to_the_largest_value() -> None:
    x = torch.tensor([[[[0.1, 0.7], [0.3, 0.2]]]], requires_grad=True)
    OrPool2d(2)(x).backward(torch.tensor([[[[5.0]]]]))
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0.0, 5.0, 0.0, 0.0]


# -- hardware ----------------------------------------------------------------------------------------------------------


def answer_by_look_up_tables(stage: LutStage, image: Tensor) -> list[int]:
    """What the look-up tables that a stage says it is in hardware make of one image, one by one."""
    bits = [int(bit) for bit in image.flatten()]
    for wired in stage.wired_banks():
        tables = wired.bank.truth_table()
        assert wired.pins.shape == (len(wired.nodes), wired.bank.input_dim)
        answers = []
        for node, pins in zip(wired.nodes.tolist(), wired.pins.tolist(), strict=True):
            address = sum(2**place for place, pin in enumerate(pins) if pin >= 0 and bits[pin])
            answers.append(int(tables[node, 0, address]))
        bits = answers
    return bits


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layer_type", LAYERS)
def test_the_look_up_tables_of_hardware_answer_as_the_layer(shape: dict[str, Any], layer_type: str) -> None:
    channels = shape.get("in_channels", 2)
    arguments = {"layer_type": layer_type, "image_shape": [channels, 4, 5]}
    layer = make_layer(n=3, arguments=arguments, **shape).eval()
    for image in draw_images(5, channels, 4, 5):
        output = layer(image.unsqueeze(0))
        assert output.shape[1:] == layer.output_shape
        assert layer.output_width == output.numel()
        assert answer_by_look_up_tables(layer, image) == output.flatten().tolist()


@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 2), (2, None), (2, 1), (3, 2), (5, None)])
def test_the_look_up_tables_of_pooling_answer_as_the_layer(kernel_size: int, stride: int | None) -> None:
    pool = OrPool2d(kernel_size, stride, image_shape=(2, 7, 6))
    for image in (draw_images(6, 2, 7, 6) * draw_images(6, 2, 7, 6, seed=1)).unbind():
        assert answer_by_look_up_tables(pool, image) == pool(image.unsqueeze(0)).flatten().tolist()
    assert all(wired.bank.input_dim <= 6 for wired in pool.wired_banks())


def test_look_up_tables_are_named_after_their_places() -> None:
    layer = make_layer(out_channels=2, arguments={"image_shape": (2, 3, 2)})
    leaves, roots = layer.wired_banks()
    assert list(roots.names) == [f"channel{c}_row{r}_column0" for c in (0, 1) for r in (0, 1)]
    assert list(leaves.names)[:3] == [
        "channel0_lut0_row0_column0",
        "channel0_lut0_row1_column0",
        "channel0_lut1_row0_column0",
    ]
    ors, outputs = OrPool2d(3, image_shape=(1, 3, 6)).wired_banks()
    assert list(outputs.names or []) == ["channel0_row0_column0", "channel0_row0_column1"]
    assert list(ors.names or [])[1:3] == ["channel0_row0_column0_or1", "channel0_row0_column1_or0"]
    for wired in (leaves, roots, ors, outputs):
        assert len(set(wired.names or [])) == len(wired.nodes)


def test_hardware_is_made_for_one_shape_of_image() -> None:
    for stage in (make_layer(), OrPool2d(2)):
        for ask in (stage.wired_banks, lambda stage=stage: stage.output_width):
            with pytest.raises(RuntimeError, match="made without image_shape"):
                ask()
    for stage in (make_layer(arguments={"image_shape": (2, 4, 5)}), OrPool2d(2, image_shape=(2, 4, 5))):
        with pytest.raises(ValueError, match=r"expected \(batch, 2, 4, 5\)"):
            stage(draw_images(1, 2, 5, 4))
    with pytest.raises(ValueError, match="it reads 2 channels"):
        make_layer(arguments={"image_shape": (3, 4, 5)})
    with pytest.raises(ValueError, match="height of the image, 1 pixels"):
        make_layer(arguments={"image_shape": (2, 1, 5)})
    for shape in ((4, 5), (2, 0, 5), (2, 4.0, 5)):
        with pytest.raises(ValueError, match="channels, height and width"):
            OrPool2d(2, image_shape=shape)  # type: ignore[arg-type]


def test_runtime_settings_and_buffers_reach_every_level() -> None:
    arguments = {"layer_type": "learnable"}
    layer = make_layer("probabilistic", arguments=arguments)
    layer.set_runtime("temperature", 0.5)
    layer.set_runtime("routing_tau", 0.25)
    layer.set_runtime("flip_probability", 0.125)
    assert [level.bank.temperature for level in layer.lut_levels()] == [0.5, 0.5]
    assert layer.first_level.routing_tau == 0.25
    assert layer.layer_config.flip_probability == 0.125
    assert all(level.layer_config == LayerConfig() for level in layer.lut_levels())
    layer.check_buffers()
    layer.first_level.candidates[0, 0, 0] = 8
    with pytest.raises(ValueError, match=r"levels.0.candidates points outside the 8 inputs"):
        layer.check_buffers()


def test_bit_planes_give_every_bit_of_the_code_a_channel() -> None:
    planes = BitPlanes((2, 3, 4), 5)
    x = torch.rand(2, 2 * 3 * 4 * 5)
    output = planes(x)
    assert output.shape == (2, *planes.output_shape) == (2, 10, 3, 4)
    for sample, channel, row, column, bit in itertools.product(range(2), range(2), range(3), range(4), range(5)):
        feature = channel * 12 + row * 4 + column
        assert output[sample, channel * 5 + bit, row, column] == x[sample, feature * 5 + bit]
    with pytest.raises(ValueError, match=r"expected \(batch, 120\)"):
        planes(x[:, 1:])


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tree_depth", -1),
        ("in_channels", 0),
        ("out_channels", 2.0),
        ("receptive_field", True),
        ("stride", 0),
        ("padding", "same"),
        ("seed", None),
    ],
)
def test_bad_shapes_are_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        make_layer(**{name: value})


def test_the_layer_is_found_by_name() -> None:
    assert REGISTRY.get_convolutional_layer("convolutional") is ConvolutionalLayer
    assert "convolutional" not in LAYERS


def test_wrong_use_is_refused() -> None:
    with pytest.raises(TypeError, match="in_channels"):
        ConvolutionConfig(out_channels=3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="padding is 2"):
        make_layer(padding=2)
    with pytest.raises(ValueError, match="n_inputs_per_node is 17"):
        make_layer(n=17)
    with pytest.raises(ValueError, match="table entries"):
        make_layer(n=16, tree_depth=8)
    with pytest.raises(ValueError, match="output_dim 2"):
        make_layer(arguments={"node_kwargs": {"output_dim": 2}})
    with pytest.raises(TypeError, match="wings"):
        make_layer(arguments={"node_kwargs": {"wings": 2}})
    with pytest.raises(TypeError, match="wings"):
        make_layer(arguments={"layer_kwargs": {"wings": 2}})
    for images in (draw_images(2, 3, 4, 4), draw_images(2, 4, 4)):
        with pytest.raises(ValueError, match=r"expected \(batch, 2, height, width\)"):
            make_layer()(images)
    for training in (True, False):
        with pytest.raises(ValueError, match="width of the image, 3 pixels"):
            make_layer(receptive_field=4).train(training)(draw_images(1, 2, 4, 3))
    for bad in (0, 1.5, True):
        with pytest.raises(ValueError, match="kernel_size is"):
            OrPool2d(bad)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="stride is"):
            OrPool2d(2, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="smaller than the window"):
        OrPool2d(3)(draw_images(1, 1, 2, 5))
    with pytest.raises(ValueError, match="expected"):
        OrPool2d(3)(draw_images(1, 2, 5))
