"""An oracle for networks in eval mode: one sample, one table, one bit at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from difflut.encoders import BaseEncoder
from difflut.layers import BaseLUTLayer
from difflut.utils.modules import GroupSum


def read_tables(layer: BaseLUTLayer, pins: Tensor) -> Tensor:
    """Read the truth tables of a layer's nodes at pins (batch, nodes, n): float32 (batch, nodes)."""
    tables = layer.bank.truth_table()[:, 0].tolist()
    answers = [
        [tables[node][sum(int(bit >= 0.5) << j for j, bit in enumerate(bits))] for node, bits in enumerate(sample)]
        for sample in pins.tolist()
    ]
    return torch.tensor(answers, dtype=torch.float32)


def answer_by_hand(encoder: BaseEncoder, layers: list[BaseLUTLayer], group_sum: GroupSum | None, x: Tensor) -> Tensor:
    """Encode samples (batch, features), go through layers of nodes with one output, and count the votes if wanted."""
    thresholds, code = encoder.thresholds.tolist(), encoder.code_table().tolist()
    bits = torch.tensor(
        [
            [bit for value, row in zip(sample, thresholds, strict=True) for bit in code[sum(value > t for t in row)]]
            for sample in x.tolist()
        ],
        dtype=torch.float32,
    )
    for layer in layers:
        bits = read_tables(layer, bits[:, layer.mapping()])
    if group_sum is None:
        return bits
    size = -(-bits.shape[1] // group_sum.k)
    votes = [[sum(row[start : start + size]) for start in range(0, size * group_sum.k, size)] for row in bits.tolist()]
    return torch.tensor(votes) / group_sum.tau
