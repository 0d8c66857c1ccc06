"""Names of the building blocks: nodes, layers, encoders, models, initialisers,
regularisers.

A building block registers itself where it is defined::

    @register_node("dwn")
    class DWNNode(LutNode): ...

Looking a name up first imports the package where the built-in blocks of its kind live, so this module alone knows
every built-in name and yet loads nothing until it is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from torch import Tensor, nn

    from difflut.encoders.base_encoder import BaseEncoder
    from difflut.layers.base_layer import BaseLUTLayer
    from difflut.models.base_model import BaseLUTModel
    from difflut.nodes.base_node import LutNode

Entry = TypeVar("Entry")
Item = TypeVar("Item")


class Category(Generic[Entry]):
    """The names of one kind of building block.

    Parameters
    ----------
    kind : what an entry is called in messages, e.g. ``"node"``.
    home : package whose import registers the built-in entries.
    ignore_case : whether upper and lower case are the same in names.
    """

    def __init__(self, kind: str, home: str, *, ignore_case: bool = False) -> None:
        self._kind = kind
        self._home = home
        self._ignore_case = ignore_case
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Item], Item]:
        """Return a decorator that files a class or function under `name`.

        Raises
        ------
        ValueError : `name` already belongs to another one.
        """
        name = self._fold(name)

        def file(entry: Item) -> Item:
            present = self._entries.get(name)
            if present not in (None, entry):
                raise ValueError(
                    f"The {self._kind} name {name!r} is taken by {_origin(self._entries[name])}, "
                    f"so {_origin(entry)} needs another name."
                )
            self._entries[name] = cast(Entry, entry)
            return entry

        return file

    def get(self, name: str) -> Entry:
        """Return what is called `name`; an unknown name is a ValueError that lists the known ones."""
        if self._fold(name) not in self.names():
            raise ValueError(f"Unknown {self._kind} {name!r}; available: {', '.join(self.names())}.")
        return self._entries[self._fold(name)]

    def names(self) -> list[str]:
        """Return the known names, sorted."""
        import_module(self._home)
        return sorted(self._entries)

    def _fold(self, name: str) -> str:
        return name.lower() if self._ignore_case else name


def _origin(entry: Any) -> str:
    return f"{entry.__module__}.{entry.__qualname__}"


class Registry:
    """All categories in one place, with the three verbs register, get and list for each."""

    def __init__(self) -> None:
        nodes: Category[type[LutNode]] = Category("node", "difflut.nodes")
        self.register_node, self.get_node, self.list_nodes = nodes.register, nodes.get, nodes.names
        layers: Category[type[BaseLUTLayer]] = Category("layer", "difflut.layers")
        self.register_layer, self.get_layer, self.list_layers = layers.register, layers.get, layers.names
        convolutional_layers: Category[type[nn.Module]] = Category("convolutional layer", "difflut.layers")
        self.register_convolutional_layer = convolutional_layers.register
        self.get_convolutional_layer = convolutional_layers.get
        self.list_convolutional_layers = convolutional_layers.names
        encoders: Category[type[BaseEncoder]] = Category("encoder", "difflut.encoders")
        self.register_encoder, self.get_encoder, self.list_encoders = encoders.register, encoders.get, encoders.names
        models: Category[type[BaseLUTModel]] = Category("model", "difflut.models")
        self.register_model, self.get_model, self.list_models = models.register, models.get, models.names
        initializers: Category[Callable[..., None]] = Category(
            "initializer", "difflut.nodes.utils.initializers", ignore_case=True
        )
        self.register_initializer, self.get_initializer = initializers.register, initializers.get
        self.list_initializers = initializers.names
        regularizers: Category[Callable[..., Tensor]] = Category(
            "regularizer", "difflut.nodes.utils.regularizers", ignore_case=True
        )
        self.register_regularizer, self.get_regularizer = regularizers.register, regularizers.get
        self.list_regularizers = regularizers.names


REGISTRY = Registry()
register_node = REGISTRY.register_node
register_layer = REGISTRY.register_layer
register_convolutional_layer = REGISTRY.register_convolutional_layer
register_encoder = REGISTRY.register_encoder
register_model = REGISTRY.register_model
register_initializer = REGISTRY.register_initializer
register_regularizer = REGISTRY.register_regularizer
