"""Which table entry a set of pins selects."""

from __future__ import annotations

import torch
from torch import Tensor


def compute_addresses(pins: Tensor) -> Tensor:
    """Return int64 (num_nodes, batch): sum over j of [pin_j >= 0.5] * 2**j, for pins (num_nodes, n, batch)."""
    bits = pins >= 0.5
    address = bits[:, 0].to(torch.int64)
    for j in range(1, pins.shape[1]):
        address |= bits[:, j].to(torch.int64) << j
    return address


def read_table(table: Tensor, address: Tensor) -> Tensor:
    """Return (num_nodes, outputs, batch): entry `address` (num_nodes, batch) of `table` (num_nodes, outputs, 2**n)."""
    return table.gather(2, address.unsqueeze(1).expand(-1, table.shape[1], -1))
