"""Seeds and counters: different ones give different numbers, small ones those of torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from difflut.layers import LayerConfig, RandomLayer
from difflut.layers.augmentation import BitFlips
from difflut.nodes import NeuralLUTNode
from difflut.utils.randomness import draw_counted, make_generator, start_of_process


@given(st.integers(0, 2**32 - 1))
def test_seeds_that_torch_keeps_are_taken_as_they_are(seed: int) -> None:
    assert torch.equal(
        torch.rand(4, generator=make_generator(seed)), torch.rand(4, generator=torch.Generator().manual_seed(seed))
    )


@given(st.integers(0, 2**62), st.integers(32, 61))
def test_the_upper_bits_of_a_seed_count(seed: int, bit: int) -> None:
    first, second = make_generator(seed), make_generator(seed ^ 1 << bit)
    assert not torch.equal(torch.rand(8, generator=first), torch.rand(8, generator=second))


def test_layers_of_seeds_that_differ_in_the_upper_bits_differ() -> None:
    first, second = (RandomLayer(100, 50, "dwn", seed=seed) for seed in (1, 1 + 2**32))
    assert not torch.equal(first.mapping(), second.mapping())
    assert not torch.equal(first.bank.truth_table(), second.bank.truth_table())


def test_a_draw_is_a_function_of_its_number() -> None:
    counter, like = torch.tensor(2**61 + 5), torch.empty(3, 4)
    first, second = draw_counted(counter, like), draw_counted(counter, like)
    assert counter == 2**61 + 7
    assert first.shape == like.shape
    assert not torch.equal(first, second)
    assert torch.equal(draw_counted(torch.tensor(2**61 + 6), like), second)
    assert draw_counted(counter, like, torch.float64).dtype == torch.float64


@pytest.mark.parametrize("processes", [2, 3, 8, 64, 1000])
def test_the_draws_of_processes_lie_far_apart_where_torch_sees_it(processes: int) -> None:
    assert start_of_process(0) == 0
    starts = torch.tensor([start_of_process(rank) % 2**32 for rank in range(processes)]).sort().values
    gaps = torch.diff(starts, append=starts[:1] + 2**32)
    assert int(gaps.min()) >= 2**32 // (3 * processes)


def test_processes_flip_other_bits_and_add_other_noise() -> None:
    def answers(rank: int) -> list[torch.Tensor]:
        flips = BitFlips(torch.Generator().manual_seed(1))
        node = NeuralLUTNode(input_dim=2)
        for module in (flips, node):
            module.noise_counter += start_of_process(rank)
        x = torch.zeros(200, 2)
        return [flips(x, LayerConfig(flip_probability=0.3)), flips(x, LayerConfig(dropout=0.5)), node(x)]

    for mine, same, other in zip(answers(1), answers(1), answers(2), strict=True):
        assert torch.equal(mine, same)
        assert not torch.equal(mine, other)
