"""Memory for large results of the CPU kernels, which is used again.

A training step needs the same few sizes as the one before. Memory that goes back to the operating system in between
has to be cleared and mapped anew, page by page, which takes up to a third of a step. So a large buffer is kept when the
last tensor on it has gone, for the next one of its size. Those kept are never more than twice what was in use at once:
all that a step has used, in most networks.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import threading
from functools import lru_cache
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

SMALLEST_BYTES = 1 << 18
"""Of smaller tensors, the allocator of the C library keeps the memory itself."""

LARGE_PAGE_BYTES = 1 << 21
KEPT_PER_USED = 2


class BufferPool:
    """Buffers that wait for another tensor of their size. Tensors may go away in any thread, and at any time.

    That may be while the pool is at work: Python collects garbage when it likes. So what comes back is queued first.
    """

    def __init__(self) -> None:
        self.kept: dict[int, list[Tensor]] = {}  # by size, the one that was used last at the end; no list is empty
        self.bytes_kept = self.bytes_in_use = self.most_bytes_in_use = 0
        self._returned: SimpleQueue[Tensor] = SimpleQueue()
        self._lock = threading.Lock()

    def take(self, size: int) -> Tensor:
        """Return a buffer of `size` bytes, whatever it holds."""
        with self._lock:
            self._collect()
            self.bytes_in_use += size
            self.most_bytes_in_use = max(self.most_bytes_in_use, self.bytes_in_use)
            if size in self.kept:
                self.bytes_kept -= size
                return self._pop(size, -1)
        return _allocate(size)

    def give_back(self, buffer: Tensor) -> None:
        """Keep a buffer that nothing reads any more, instead of some of the size that waits longest if need be."""
        self._returned.put(buffer)
        if self._lock.acquire(blocking=False):  # else whoever takes the next one collects this one
            try:
                self._collect()
            finally:
                self._lock.release()

    def clear(self) -> None:
        """Give all memory that waits back to the operating system, and forget how much was in use at once."""
        with self._lock:
            self._collect()
            self.kept.clear()
            self.bytes_kept = 0
            self.most_bytes_in_use = self.bytes_in_use

    def _collect(self) -> None:
        while not self._returned.empty():
            buffer = self._returned.get()
            size = buffer.numel()
            self.bytes_in_use -= size
            self.bytes_kept += size
            self.kept[size] = [*self.kept.pop(size, []), buffer]  # now the last of the sizes
        while self.bytes_kept > KEPT_PER_USED * self.most_bytes_in_use:
            oldest = next(iter(self.kept))
            self.bytes_kept -= oldest
            self._pop(oldest, 0)

    def _pop(self, size: int, place: int) -> Tensor:
        buffers = self.kept[size]
        buffer = buffers.pop(place)
        if not buffers:
            del self.kept[size]
        return buffer


def _allocate(size: int) -> Tensor:
    """Return new memory, of large pages if it is large: rows of a tensor lie far apart, on too many small pages."""
    if size < LARGE_PAGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
        return torch.empty(size, dtype=torch.uint8, device="cpu")
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)


POOL = BufferPool()


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a tensor as `torch.empty` does, on memory of the pool if it is large; always one of the CPU."""
    count = math.prod(shape)
    size = count * dtype.itemsize
    if size < SMALLEST_BYTES:
        return torch.empty(shape, dtype=dtype, device="cpu")
    buffer = POOL.take(size)
    lent = _lent_type(size).from_address(buffer.data_ptr())
    lent.buffer = buffer
    return torch.frombuffer(lent, dtype=dtype).view(shape)


@lru_cache(maxsize=256)
def _lent_type(size: int) -> Any:
    """The type of memory of `size` bytes that goes back to the pool when the last tensor on it has gone."""
    return type("Lent", (ctypes.c_char * size,), {"__del__": lambda lent: POOL.give_back(lent.buffer)})
