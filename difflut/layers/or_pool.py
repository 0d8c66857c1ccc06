"""Pooling of bits."""

from __future__ import annotations

from torch import Tensor, nn


class OrPool2d(nn.Module):
    """Largest value of every window: the OR of its bits in hardware.

    In training the gradient goes to the first largest value of the window. Windows lie within the image; rows and
    columns beyond the last whole window are not read.

    Parameters
    ----------
    kernel_size : height and width in pixels of the square window.
    stride : pixels from one window to the next, both ways; `kernel_size` if not given.

    Raises
    ------
    ValueError : a size is not a positive integer.
    """

    def __init__(self, kernel_size: int, stride: int | None = None) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        for name, value in {"kernel_size": kernel_size, "stride": stride}.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"OrPool2d: {name} is {value!r}; it must be a positive integer.")
        self.kernel_size = kernel_size
        self.stride = stride

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the output for an input of that size in pixels.

        Raises
        ------
        ValueError : the image is smaller than the window.
        """
        if min(height, width) < self.kernel_size:
            raise ValueError(f"OrPool2d: an image of {height}x{width} is smaller than the window, {self.kernel_size}.")
        return (height - self.kernel_size) // self.stride + 1, (width - self.kernel_size) // self.stride + 1

    def forward(self, x: Tensor) -> Tensor:
        """Pool images: (batch, channels, height, width) -> (batch, channels, height', width').

        Raises
        ------
        ValueError : the shape is another one, or the image is smaller than the window.
        """
        if x.dim() != 4:
            raise ValueError(
                f"OrPool2d got input of shape {tuple(x.shape)}; expected (batch, channels, height, width)."
            )
        self.output_size(*x.shape[2:])
        return nn.functional.max_pool2d(x, self.kernel_size, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"
