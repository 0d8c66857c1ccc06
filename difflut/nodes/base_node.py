"""What every node family shares: a bank of look-up tables."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from difflut.kernels import choice, use
from difflut.nodes.utils.regularizer_settings import WeightedRegularizer, read_regularizers
from difflut.nodes.utils.regularizers import draw_inputs
from difflut.registry import REGISTRY
from difflut.rules.addressing import compute_addresses, read_table
from difflut.rules.hard_lookup import look_up
from difflut.rules.pins import Pins, gather_pins

BIT_ORDERS = ("lsb_first", "msb_first")
MAX_INPUT_DIM = 16
MAX_TABLE_ENTRIES = 2**28
DEFAULT_SEED = 42
EVAL_MODES = ("expectation", "deterministic", "threshold", "sampling")


class LutNode(nn.Module, ABC):
    """A bank of `num_nodes` look-up tables with `input_dim` inputs and `output_dim` outputs each.

    A family is its parameters, its training rule (`train_pins`) and its table (`truth_table`). In train mode the rule
    answers; in eval mode the truth table does, read at inputs thresholded at >= 0.5, which is what the hardware
    computes, bit for bit.

    Attribute ``eval_mode`` can change that. ``expectation`` (the default), ``deterministic`` and ``threshold`` are
    the table: on bits, whether the expected answer, the likelier one or a threshold decides makes no difference.
    ``sampling`` draws each answer as a 1 with the probability that `soft_table` has at the address, for looking at how
    decided a network is; hardware is never built from it. Attribute ``sampling_generator`` is the CPU generator of the
    draws, by default torch's global one.

    Parameters
    ----------
    input_dim : inputs per node, 1 to 16; input j is address bit j, least significant first.
    output_dim : outputs per node.
    num_nodes : nodes in the bank.
    init_fn : registered name of an initialiser, or a function, called as ``init_fn(parameter, **init_kwargs)`` on each
        parameter to replace the family's own start values in place. It also gets those of ``node``, ``param_name``,
        ``fan_in`` and ``fan_out`` that its signature names.
    init_kwargs : keyword arguments for `init_fn`.
    regularizers : what `regularization` adds up, as `read_regularizers` takes it; none if not given.
    use_cuda : whether training may use CUDA kernels where there are any for the family; the values are the same.
    generator : source of the start values; a fixed one if not given. The global random state is never touched.

    Raises
    ------
    ValueError : a size is out of its range, or `init_fn` or a regulariser is not a registered name.
    TypeError : a size is not an integer, `init_fn` is neither name nor function, or a keyword is unknown.
    """

    runtime_keys: ClassVar[tuple[str, ...]] = ()
    """Attributes that may be changed on a trained bank without changing its parameters."""

    sampling_generator: torch.Generator | None = None

    min_input_dim: ClassVar[int] = 1
    """Fewest inputs per node for which the family is defined."""

    takes_wired_pins: ClassVar[bool] = False
    """Whether `train_pins` takes `WiredPins` too, as a family does that hands its pins to a rule on tables."""

    def __init__(
        self,
        input_dim: int = 6,
        output_dim: int = 1,
        num_nodes: int = 1,
        init_fn: str | Callable[..., Any] | None = None,
        init_kwargs: dict[str, Any] | None = None,
        *,
        regularizers: Any = None,
        use_cuda: bool = True,
        generator: torch.Generator | None = None,
        **unknown: object,
    ) -> None:
        if unknown:  # Python's own message would name this base class instead of the node family
            raise TypeError(f"{type(self).__name__} has no argument {next(iter(unknown))!r}.")
        super().__init__()
        self.eval_mode = "expectation"
        self._check_sizes(input_dim=input_dim, output_dim=output_dim, num_nodes=num_nodes)
        if isinstance(init_fn, str):
            init_fn = REGISTRY.get_initializer(init_fn)
        if init_fn is not None and not callable(init_fn):
            raise TypeError(
                f"{type(self).__name__}: init_fn is {init_fn!r}; it must be a name or a function of a parameter."
            )
        if init_kwargs is not None and not isinstance(init_kwargs, dict):
            raise TypeError(f"{type(self).__name__}: init_kwargs is {init_kwargs!r}; it must be a table of arguments.")
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.num_nodes = num_nodes
        if type(use_cuda) is not bool:
            raise TypeError(f"{type(self).__name__}: use_cuda is {use_cuda!r}; it must be true or false.")
        self.use_cuda = use_cuda
        self.set_regularizers(regularizers)
        generator = generator or torch.Generator().manual_seed(DEFAULT_SEED)
        self.create_parameters(generator)
        if init_fn is not None:
            self._initialise(init_fn, init_kwargs or {}, generator)

    @abstractmethod
    def create_parameters(self, generator: torch.Generator) -> None:
        """Create the family's parameters, stacked over nodes, with start values drawn from `generator`."""

    @abstractmethod
    def train_pins(self, pins: Tensor) -> Tensor:
        """Apply the training rule: (num_nodes, input_dim, batch) -> (num_nodes, output_dim, batch)."""

    def expected_pins(self, pins: Tensor) -> Tensor:
        """Apply the training rule without noise, and without a change to the bank; shapes as `train_pins`.

        A family whose `train_pins` draws numbers or writes to the bank overrides it.
        """
        return self.train_pins(pins)

    @abstractmethod
    def truth_table(self) -> Tensor:
        """Return the tables the parameters stand for, bool (num_nodes, output_dim, 2**input_dim).

        Computed in float64 with one predicate whose ties are 1, so that every caller gets the same bits.
        """

    def export_bitstream(self, order: str = "lsb_first") -> Tensor:
        """Return the tables as strings of bits, uint8 (num_nodes, 2**input_dim * output_dim).

        The bits of one address stand together, output 0 first, and the addresses follow each other from 0 on.

        Parameters
        ----------
        order : ``lsb_first`` counts addresses as everywhere in DiffLUT, input 0 as the least significant bit: for a
            node of two inputs that passes input 0, the bits are 0101. ``msb_first`` counts with input 0 as the most
            significant bit, the order of ``itertools.product((0, 1), repeat=input_dim)``: 0011.

        Raises
        ------
        ValueError : there is no such order.
        """
        if order not in BIT_ORDERS:
            raise ValueError(f"{type(self).__name__}: order is {order!r}; available: {', '.join(BIT_ORDERS)}.")
        tables = self.truth_table()
        if order == "msb_first":
            significances = torch.arange(self.input_dim - 1, -1, -1, device=tables.device)
            bits = self.corners()[0].to(torch.int64)
            tables = tables[:, :, (bits << significances.unsqueeze(1)).sum(0)]
        return tables.transpose(1, 2).flatten(1).to(torch.uint8)

    def corners(self) -> Tensor:
        """Return the pins at every address, float32 (num_nodes, input_dim, 2**input_dim)."""
        device = next(self.parameters()).device
        addresses = torch.arange(2**self.input_dim, device=device)
        bits = addresses >> torch.arange(self.input_dim, device=device).unsqueeze(1) & 1
        return bits.to(torch.float32).expand(self.num_nodes, -1, -1)

    def soft_table(self) -> Tensor:
        """Return the probabilities of a 1 that training works on, (num_nodes, output_dim, 2**input_dim).

        They are what `expected_pins` answers at the corners, differentiable in all parameters.
        """
        return self.expected_pins(self.corners())

    def check_buffers(self) -> None:
        """Raise ValueError, naming the buffer, if one holds values that no bank of this kind could have.

        Called on what was read from a file; a family with buffers overrides it.
        """

    def compute_fans(self, name: str) -> tuple[int, int]:
        """Return fan-in and fan-out of a parameter: what it connects within one node.

        For weights (num_nodes, fan_in, fan_out) as they stand; the biases belonging to them have the same.
        """
        shape = self.get_parameter(name).shape
        return (shape[1], shape[2]) if len(shape) == 3 else (self.input_dim, shape[1])

    def residual_values(self, name: str, clarity: float) -> Tensor:
        """Return values of a parameter, to be broadcast, with which every output is input 0.

        `clarity` is how decided the answers are, as a logit where the family has one. A family that has further
        buffers may set them to what the values need.

        Raises
        ------
        NotImplementedError : the family has no such values.
        """
        raise NotImplementedError(f"{type(self).__name__} has no residual start values.")

    def set_regularizers(self, settings: Any) -> None:
        """Replace the bank's regularisers; `settings` as `read_regularizers` takes them, its errors included."""
        self._regularizers: dict[str, WeightedRegularizer] = read_regularizers(settings)
        self.seen_pins: Tensor | None = None

    def regularization(self) -> Tensor:
        """Return the weighted sum of the bank's regularisers, a 0-d tensor; 0 if it has none.

        Those that depend on inputs see, in training, what the pins read in the last forward pass, or random bits if
        there was none, and the sum is differentiable in the parameters. In eval mode they see random bits, and those
        depending on inputs have no gradient. The training rule is asked without its noise.
        """
        seen = self.seen_pins  # a regulariser that calls the bank must not replace it
        inputs = None
        if self.training and self._regularizers:
            inputs = draw_inputs(self) if seen is None else seen.permute(2, 0, 1)
        terms = [regularizer(self, inputs) for regularizer in self._regularizers.values()]
        self.seen_pins = seen
        return sum(terms, start=next(self.parameters()).new_zeros(()))

    @property
    def eval_mode(self) -> str:
        """How eval mode answers; setting it to anything but one of `EVAL_MODES` is a ValueError."""
        return self._eval_mode

    @eval_mode.setter
    def eval_mode(self, mode: str) -> None:
        if mode not in EVAL_MODES:
            raise ValueError(f"{type(self).__name__}: eval_mode is {mode!r}; available: {', '.join(EVAL_MODES)}.")
        self._eval_mode = mode

    @property
    def num_inputs(self) -> int:
        """The same as ``input_dim``."""
        return self.input_dim

    @property
    def num_outputs(self) -> int:
        """The same as ``output_dim``."""
        return self.output_dim

    def forward(self, x: Tensor) -> Tensor:
        """Answer a batch: (batch, num_nodes, input_dim) -> (batch, num_nodes, output_dim).

        A bank of one also takes (batch, input_dim) and returns (batch, output_dim).
        """
        return self._answer_batch(x, self.forward_pins)

    def forward_train(self, x: Tensor) -> Tensor:
        """As `forward` in train mode, whatever the mode is, but not remembered for `regularization`."""
        return self._answer_batch(x, self.train_pins)

    def forward_expected(self, x: Tensor) -> Tensor:
        """As `forward_train`, without noise, and without a change to the bank: what regularisers ask."""
        return self._answer_batch(x, self.expected_pins)

    def forward_eval(self, x: Tensor) -> Tensor:
        """Read the truth table as `forward` does in eval mode, whatever mode and ``eval_mode`` are."""
        return self._answer_batch(x, self.eval_pins)

    def forward_pins(self, pins: Pins) -> Tensor:
        """As `forward`, batch last: (num_nodes, input_dim, batch) -> (num_nodes, output_dim, batch)."""
        if not self.use_cuda and choice.is_on_gpu(next(self.parameters())):
            with use("torch"):
                return self._answer_pins(pins)
        return self._answer_pins(pins)

    def _answer_pins(self, pins: Pins) -> Tensor:
        if not self.training:
            return self._sample(gather_pins(pins)) if self.eval_mode == "sampling" else self.eval_pins(pins)
        if self._regularizers:
            pins = gather_pins(pins)
            self.seen_pins = pins.detach()
        return self.train_pins(cast(Tensor, pins) if self.takes_wired_pins else gather_pins(pins))

    def eval_pins(self, pins: Pins) -> Tensor:
        """Read the truth table at thresholded pins; shapes as `forward_pins`."""
        return look_up(self.truth_table(), pins)

    def extra_repr(self) -> str:
        return f"input_dim={self.input_dim}, output_dim={self.output_dim}, num_nodes={self.num_nodes}"

    def check_positive(self, **numbers: float) -> None:
        """Raise ValueError, naming the family and the argument, unless all are finite numbers above 0."""
        for name, value in numbers.items():
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise ValueError(f"{type(self).__name__}: {name} is {value!r}; it must be a number above 0.")

    def _answer_batch(self, x: Tensor, answer_pins: Callable[[Tensor], Tensor]) -> Tensor:
        if x.dim() == 2 and self.num_nodes == 1:
            return self._answer_batch(x.unsqueeze(1), answer_pins).squeeze(1)
        if x.dim() != 3 or x.shape[1:] != (self.num_nodes, self.input_dim):
            raise ValueError(
                f"{type(self).__name__} got input of shape {tuple(x.shape)}; "
                f"expected (batch, {self.num_nodes}, {self.input_dim})."
            )
        return answer_pins(x.permute(1, 2, 0)).permute(2, 0, 1)

    def _sample(self, pins: Tensor) -> Tensor:
        """Draw answers (num_nodes, output_dim, batch), each 1 with its probability at the thresholded pins."""
        probabilities = read_table(self.soft_table().detach(), compute_addresses(pins))
        draws = torch.rand(probabilities.shape, generator=self.sampling_generator).to(probabilities.device)
        return (draws < probabilities).to(torch.float32)

    def _check_sizes(self, **sizes: int) -> None:
        for name, value in sizes.items():
            if type(value) is not int:
                raise TypeError(f"{type(self).__name__}: {name} is {value!r}; it must be an integer.")
            if value < 1:
                raise ValueError(f"{type(self).__name__}: {name} is {value}; it must be at least 1.")
        if sizes["input_dim"] < self.min_input_dim:
            raise ValueError(
                f"{type(self).__name__}: input_dim is {sizes['input_dim']}; it must be at least {self.min_input_dim}."
            )
        if sizes["input_dim"] > MAX_INPUT_DIM:
            raise ValueError(
                f"{type(self).__name__}: input_dim is {sizes['input_dim']}; it must be at most {MAX_INPUT_DIM}."
            )
        if sizes["num_nodes"] * sizes["output_dim"] * 2 ** sizes["input_dim"] > MAX_TABLE_ENTRIES:
            raise ValueError(
                f"{type(self).__name__}: num_nodes * output_dim * 2**input_dim exceeds {MAX_TABLE_ENTRIES} "
                f"table entries."
            )

    def _initialise(self, init_fn: Callable[..., Any], kwargs: dict[str, Any], generator: torch.Generator) -> None:
        # Initialisers such as those of torch.nn.init draw from the global generator: lend it to them, seeded.
        seed = int(torch.randint(2**62, (), generator=generator))
        wanted = inspect.signature(init_fn).parameters
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            for name, parameter in self.named_parameters():
                fan_in, fan_out = self.compute_fans(name)
                context = {"node": self, "param_name": name, "fan_in": fan_in, "fan_out": fan_out}
                for taken in context.keys() & kwargs.keys() & wanted.keys():
                    raise TypeError(f"{type(self).__name__}: init_kwargs holds {taken!r}, which the node itself gives.")
                known = {key: value for key, value in context.items() if key in wanted}
                init_fn(parameter, **known, **kwargs)


def residual_logits(n: int, clarity: float) -> Tensor:
    """Return (2**n,): `clarity` at the addresses whose bit 0 is set, -`clarity` at the others."""
    return clarity * torch.tensor([-1.0, 1.0]).repeat(2 ** (n - 1))
