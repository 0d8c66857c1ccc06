"""What to search: a YAML file with a training configuration and the values that its fields may take."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import exp, log, prod
from pathlib import Path
from typing import Any, Literal

from difflut.errors import ConfigError
from difflut.training import TrainingConfig
from difflut.utils.yaml_files import read_yaml
from difflut_compiler.costs.estimate import cost_models
from difflut_compiler.errors import CompilerError

MAX_TRIALS = 100_000
STARTUP_TRIALS = 10
"""So many trials are drawn beforehand for ``tpe`` to learn from."""
SAMPLERS = ("tpe", "random", "grid")
OBJECTIVES: Mapping[str, Literal["maximize", "minimize"]] = {
    "accuracy": "maximize",
    "luts": "minimize",
    "depth": "minimize",
    "fmax_mhz": "maximize",
}
"""What a trial can be judged by, and which direction is better."""

Value = int | float | str
"""A value as the storage keeps it; a choice is its JSON text."""
Point = Mapping[str, Value]


@dataclass(frozen=True)
class Choices:
    """One of several values, of any kind that YAML can say."""

    texts: tuple[str, ...]

    @property
    def values(self) -> Sequence[Value]:
        """Values at which to check a configuration: all of them."""
        return self.texts

    def draw(self, source: random.Random) -> Value:
        return source.choice(self.texts)

    def decode(self, value: Value) -> Any:
        return json.loads(str(value))


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; integers if both are, evenly by their logarithm if ``log``."""

    low: float
    high: float
    log: bool = False

    @property
    def is_integer(self) -> bool:
        return type(self.low) is int and type(self.high) is int

    @property
    def values(self) -> Sequence[Value]:
        """Values at which to check a configuration: the bounds."""
        return (self.low, self.high)

    def draw(self, source: random.Random) -> Value:
        if self.is_integer and not self.log:
            return source.randint(int(self.low), int(self.high))
        low, high = (self.low, self.high) if not self.is_integer else (self.low - 0.5, self.high + 0.5)
        number = exp(source.uniform(log(low), log(high))) if self.log else source.uniform(low, high)
        number = round(number) if self.is_integer else number
        return min(max(number, self.low), self.high)

    def decode(self, value: Value) -> Any:
        return value


Dimension = Choices | Range


@dataclass(frozen=True)
class Sweep:
    """A whole sweep, read from its file.

    Parameters
    ----------
    base : the training configuration that every trial starts from, as plain values.
    space : the fields that vary, by their path, e.g. ``model.encoder_config.num_bits``.
    trials : how many are wanted; for ``grid``, all combinations.
    sampler : ``tpe`` learns from the trials before, ``random`` draws all of them beforehand, ``grid`` takes every one.
    seed : of what is drawn beforehand: all trials of ``random``, the first ones of ``tpe``.
    objectives : names of ``OBJECTIVES``; the Pareto front is the trials that no other beats in all of them.
    family : FPGA family for whose clock frequency there is an estimate; None for none.
    yosys : whether Yosys counts the LUTs of every trial; otherwise they are estimated from the graph.
    """

    base: Mapping[str, Any]
    space: Mapping[str, Dimension]
    trials: int
    sampler: str
    seed: int
    objectives: tuple[str, ...]
    family: str | None
    yosys: bool

    def configure(self, point: Point) -> TrainingConfig:
        """The training configuration of a point of the space; a :class:`ConfigError` if it is not a valid one."""
        values = copy.deepcopy(dict(self.base))
        for path, value in point.items():
            _set_field(values, path, self.space[path].decode(value))
        return TrainingConfig.from_dict(values)

    def planned_point(self, number: int) -> Point | None:
        """The point of a trial that is fixed beforehand; None if the sampler decides when the trial starts."""
        if self.sampler == "grid":
            point: dict[str, Value] = {}
            for path, dimension in self.space.items():
                assert isinstance(dimension, Choices)
                number, choice = divmod(number, len(dimension.texts))
                point[path] = dimension.texts[choice]
            return point
        if self.sampler == "random" or number < STARTUP_TRIALS:
            source = random.Random(f"{self.seed}/{number}")
            return {path: dimension.draw(source) for path, dimension in self.space.items()}
        return None

    def identity(self) -> str:
        """What must be the same for trials to belong together; how many there are may change."""
        names = [field.name for field in fields(self) if field.name not in {"trials", "space"}]
        space = {path: repr(dimension) for path, dimension in self.space.items()}
        return json.dumps({**{name: getattr(self, name) for name in names}, "space": space}, sort_keys=True)


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep's file; ``base`` may be the path of a training configuration beside it.

    Raises :class:`CompilerError` that names the file and the entry.
    """
    try:
        return _read(read_yaml(path), path.parent)
    except OSError as error:
        raise CompilerError(f"{path}: the file cannot be read ({error.strerror})") from None
    except ConfigError as error:
        raise CompilerError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except CompilerError as error:
        raise CompilerError(f"{path}: {error}") from None


def _read(values: Any, folder: Path) -> Sweep:
    known = {field.name for field in fields(Sweep)}
    if not isinstance(values, dict) or not {"base", "space"} <= values.keys() <= known:
        raise CompilerError(f"a sweep is a table with base and space; also known: {', '.join(sorted(known))}")
    if not isinstance(values["space"], dict) or not values["space"]:
        raise CompilerError("space must be a table of fields and the values that they may take")
    space = {str(path): _read_dimension(str(path), entry) for path, entry in values["space"].items()}
    sampler = _check_choice("sampler", values.get("sampler", "tpe"), SAMPLERS)
    sweep = Sweep(
        base=_read_base(values["base"], folder),
        space=space,
        trials=_read_trials(values.get("trials"), sampler, space),
        sampler=sampler,
        seed=_check_integer("seed", values.get("seed", 42), 0, 2**62),
        objectives=_read_objectives(values.get("objectives", ["accuracy", "luts", "depth"])),
        family=values.get("family"),
        yosys=values.get("yosys", False),
    )
    _check_estimates(sweep)
    for end in (0, -1):  # the ends of every dimension: unknown sections and fields show at once
        sweep.configure({path: dimension.values[end] for path, dimension in space.items()})
    return sweep


def _read_base(base: Any, folder: Path) -> Mapping[str, Any]:
    values = base if isinstance(base, dict) else read_yaml(folder / str(base))
    if not isinstance(values, dict):
        raise CompilerError("base must be a training configuration or the path of one")
    return values


def _read_dimension(path: str, entry: Any) -> Dimension:
    if isinstance(entry, list) and entry:
        texts = tuple(json.dumps(value) for value in entry)
        if len(set(texts)) != len(texts):
            raise CompilerError(f"space.{path} has a value twice")
        return Choices(texts)
    if not isinstance(entry, dict) or not {"low", "high"} <= entry.keys() <= {"low", "high", "log"}:
        raise CompilerError(f"space.{path} must be a list of values, or a table with low and high and perhaps log")
    low, high, by_log = entry["low"], entry["high"], entry.get("log", False)
    if not all(type(bound) in (int, float) for bound in (low, high)) or not low < high or type(by_log) is not bool:
        raise CompilerError(f"space.{path} needs numbers low below high, and log true or false")
    if by_log and low <= 0:
        raise CompilerError(f"space.{path} has log, so low must be above 0")
    return Range(low, high, by_log)


def _read_trials(trials: Any, sampler: str, space: Mapping[str, Dimension]) -> int:
    if sampler != "grid":
        if trials is None:
            raise CompilerError("trials is missing: how many to train")
        return _check_integer("trials", trials, 1, MAX_TRIALS)
    for path, dimension in space.items():
        if not isinstance(dimension, Choices):
            raise CompilerError(f"space.{path} is a range; the sampler grid needs lists of values")
    combinations = prod(len(one.texts) for one in space.values() if isinstance(one, Choices))
    if trials not in (None, combinations):
        raise CompilerError(f"trials is {trials}, but the grid has {combinations} combinations; leave trials out")
    return _check_integer("the number of combinations", combinations, 1, MAX_TRIALS)


def _read_objectives(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or len(set(map(str, names))) != len(names):
        raise CompilerError("objectives must be a list of different names")
    return tuple(_check_choice("objectives", name, tuple(OBJECTIVES)) for name in names)


def _check_estimates(sweep: Sweep) -> None:
    timed = [family for family, model in cost_models().items() if model.delays is not None]
    if sweep.family is not None:
        _check_choice("family", sweep.family, tuple(timed))
    elif "fmax_mhz" in sweep.objectives:
        raise CompilerError(f"the objective fmax_mhz needs a family, one of {', '.join(timed)}")
    if type(sweep.yosys) is not bool:
        raise CompilerError(f"yosys is {sweep.yosys!r}; it must be true or false")


def _check_choice(name: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise CompilerError(f"{name} is {value!r}; choose one of {', '.join(known)}")
    return str(value)


def _check_integer(name: str, value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise CompilerError(f"{name} is {value!r}; it must be an integer from {low} to {high}")
    return value


def _set_field(values: dict[str, Any], path: str, value: Any) -> None:
    """Set a field of nested tables; a table that is missing on the way is made."""
    *tables, name = path.split(".")
    table = values
    for key in tables:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"space.{path}: {key} is not a table in the base configuration.")
    table[name] = value
