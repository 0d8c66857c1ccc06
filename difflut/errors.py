"""The errors that a person using DiffLUT is meant to read.

Each message is one sentence that says what is wrong, where, and what to do. The command line prints ``str(error)``
and nothing else. This module imports nothing, so that an error can be named before torch is loaded.
"""


class DifflutError(Exception):
    """Base of every error that DiffLUT raises on purpose about a user's files or settings."""


class CheckpointError(DifflutError):
    """A model file or a training checkpoint cannot be used."""


class ConfigError(DifflutError, ValueError):
    """A configuration value is missing, unknown or not allowed."""


class DataError(DifflutError, ValueError):
    """A data set cannot be read, or holds values that cannot be used."""


class PluginError(DifflutError):
    """Building blocks that an installed distribution offers cannot be loaded."""


class JobError(DifflutError):
    """A process that trains together with others has lost them."""


class KernelError(DifflutError, RuntimeError):
    """The kernels cannot be compiled, stored or used as asked."""
