"""The same as `difflut.encoders`, under the name that older code knows."""

from difflut import encoders
from difflut.encoders import *  # noqa: F403

__all__ = encoders.__all__
