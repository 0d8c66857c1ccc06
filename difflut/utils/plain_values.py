"""Plain values: what configuration files and model files hold beside tensors."""

from __future__ import annotations

from difflut.errors import ConfigError

MAX_DEPTH = 10
MAX_VALUES = 2**17
MAX_INTEGER = 2**64


def check_plain(name: str, value: object) -> None:
    """Refuse anything but texts, numbers, truth values, None, and lists and tables of these.

    What a file says once may stand in many places of the value, so the number of values is limited, too: whoever walks
    through a value that passed is done soon.

    Raises
    ------
    ConfigError : naming the place in the value, which as a whole is called `name`.
    """
    pending: list[tuple[str, object, int]] = [(name, value, 0)]
    seen = 0
    while pending:
        place, entry, depth = pending.pop()
        seen += 1
        if depth > MAX_DEPTH:
            raise ConfigError(f"{name} is nested too deeply.")
        if seen + len(pending) > MAX_VALUES:
            raise ConfigError(f"{name} holds more than {MAX_VALUES} values.")
        if isinstance(entry, dict):
            pending += [(f"{place}.{key}", inner, depth + 1) for key, inner in entry.items()]
        elif isinstance(entry, list):
            pending += [(f"{place}[{index}]", inner, depth + 1) for index, inner in enumerate(entry)]
        elif type(entry) is int and abs(entry) > MAX_INTEGER:
            raise ConfigError(f"{place} is an integer beyond 64 bits.")
        elif entry is not None and type(entry) not in (bool, int, float, str):
            raise ConfigError(f"{place} is a {type(entry).__name__}, which no configuration holds.")
