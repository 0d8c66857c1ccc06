"""The shape of a convolution."""

from __future__ import annotations

from dataclasses import dataclass

from difflut.nodes.base_node import MAX_INPUT_DIM, MAX_TABLE_ENTRIES

_LIMITS = {
    "tree_depth": (0, 8),
    "in_channels": (1, 2**20),
    "out_channels": (1, 2**20),
    "receptive_field": (1, 2**10),
    "stride": (1, 2**10),
    "padding": (0, 2**10),
    "seed": (0, 2**62),
}


@dataclass(frozen=True, kw_only=True)
class ConvolutionConfig:
    """What a convolution reads, where, and how deep the trees are that answer.

    Parameters
    ----------
    tree_depth : levels of LUTs below the one that answers; with n inputs per LUT a tree has n**tree_depth LUTs in its
        first level, then n times fewer per level.
    in_channels, out_channels : channels of the input, and trees, each of which makes one channel of the output.
    receptive_field : height and width in pixels of the square window that a tree reads, in all channels.
    stride : pixels from one window to the next, both ways.
    padding : rows and columns of zeros around the image.
    seed : fixes wiring and start values, independently of the global random state.

    Raises
    ------
    ValueError : a value is no integer or out of its range, or the padding is not narrower than the window.
    """

    tree_depth: int = 2
    in_channels: int
    out_channels: int
    receptive_field: int = 5
    stride: int = 1
    padding: int = 0
    seed: int = 42

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"ConvolutionConfig: {name} is {value!r}; it must be an integer from {low} to {high}.")
        if self.padding >= self.receptive_field:
            raise ValueError(
                f"ConvolutionConfig: padding is {self.padding}; it must be less than the receptive field, "
                f"{self.receptive_field}, or windows would hold nothing but zeros."
            )

    @property
    def window_size(self) -> int:
        """Inputs in one window: pixels times channels."""
        return self.in_channels * self.receptive_field**2

    def level_sizes(self, n: int) -> list[int]:
        """Return the LUTs with n inputs in each level of all trees together, first level first.

        Raises
        ------
        ValueError : n is out of its range, or the first level exceeds what a bank of nodes may hold.
        """
        if type(n) is not int or not 1 <= n <= MAX_INPUT_DIM:
            raise ValueError(f"n_inputs_per_node is {n!r}; it must be an integer from 1 to {MAX_INPUT_DIM}.")
        sizes = [self.out_channels * n**depth for depth in range(self.tree_depth, -1, -1)]
        if sizes[0] * 2**n > MAX_TABLE_ENTRIES:
            raise ValueError(
                f"{sizes[0]} LUTs in the first level, out_channels * n_inputs_per_node ** tree_depth, exceed "
                f"{MAX_TABLE_ENTRIES} table entries."
            )
        return sizes

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the output for an input of that size in pixels.

        Raises
        ------
        ValueError : the padded image is smaller than the window.
        """
        return tuple(  # type: ignore[return-value]
            self._count_windows(name, pixels) for name, pixels in (("height", height), ("width", width))
        )

    def _count_windows(self, name: str, pixels: int) -> int:
        steps = pixels + 2 * self.padding - self.receptive_field
        if steps < 0:
            raise ValueError(
                f"The {name} of the image, {pixels} pixels with a padding of {self.padding}, is less than the "
                f"receptive field, {self.receptive_field}."
            )
        return steps // self.stride + 1
