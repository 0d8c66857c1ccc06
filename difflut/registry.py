"""Names of the building blocks: nodes, layers, convolutional layers, encoders, models, initialisers, regularisers.

A building block registers itself where it is defined::

    @register_node("dwn")
    class DWNNode(LutNode): ...

Looking a name up first imports the package where the built-in blocks of its kind live, and then what other installed
distributions offer (`difflut.plugins`), so this module alone knows every name and yet loads nothing until it is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from difflut.plugins import PLUGINS

if TYPE_CHECKING:
    from torch import Tensor

    from difflut.encoders.base_encoder import BaseEncoder
    from difflut.layers.base_layer import BaseLUTLayer
    from difflut.layers.lut_stage import LutStage
    from difflut.models.base_model import BaseLUTModel
    from difflut.nodes.base_node import LutNode

Entry = TypeVar("Entry")
Block = TypeVar("Block")
Item = TypeVar("Item")


class Category(Generic[Entry]):
    """The names of one kind of building block.

    Parameters
    ----------
    kind : what an entry is called in messages, e.g. ``"node"``.
    home : package whose import registers the built-in entries.
    suffix : a name that ends so is registered without this ending as well; none if empty.
    ignore_case : whether upper and lower case are the same in names.
    """

    def __init__(self, kind: str, home: str, *, suffix: str = "", ignore_case: bool = False) -> None:
        self._kind = kind
        self._home = home
        self._suffix = suffix
        self._ignore_case = ignore_case
        self._entries: dict[str, Entry] = {}

    def register(self, name: str | None = None) -> Callable[[Item], Item]:
        """Return a decorator that files a class or function under `name`, or under its own name if none is given.

        Raises
        ------
        ValueError : the name already belongs to another one.
        TypeError : `name` is no text, as when the decorator is written without its parentheses.
        """
        if name is not None and not isinstance(name, str):
            raise TypeError(
                f"A {self._kind} is registered under {name!r}, which is no name; write the decorator with parentheses, "
                f"with a name between them or without."
            )

        def file(entry: Item) -> Item:
            full_name = self._fold(cast(Any, entry).__name__ if name is None else name)
            for each in {full_name, full_name.removesuffix(self._suffix)}:
                self._file(each, entry)
            return entry

        return file

    def get(self, name: str) -> Entry:
        """Return what is called `name`; an unknown name is a ValueError that lists the known ones."""
        if self._fold(name) not in self.names():
            raise ValueError(f"Unknown {self._kind} {name!r}; available: {', '.join(self.names())}.")
        return self._entries[self._fold(name)]

    def names(self) -> list[str]:
        """Return the known names, sorted.

        Raises
        ------
        PluginError : building blocks of an installed distribution cannot be loaded.
        """
        import_module(self._home)
        PLUGINS.load()
        return sorted(self._entries)

    def _file(self, name: str, entry: object) -> None:
        present = self._entries.get(name)
        # The same definition carried out again, as in a notebook cell, replaces what it made before.
        if present is not None and _origin(present) != _origin(entry):
            raise ValueError(
                f"The {self._kind} name {name!r} is taken by {_origin(present)}, "
                f"so {_origin(entry)} needs another name."
            )
        self._entries[name] = cast(Entry, entry)

    def _fold(self, name: str) -> str:
        return name.lower() if self._ignore_case else name


class ClassCategory(Category[type[Block]]):
    """A category whose entries are classes."""

    def build(self, name: str, *args: Any, **kwargs: Any) -> Block:
        """Return an instance of the class called `name`, made with the further arguments."""
        return self.get(name)(*args, **kwargs)


def _origin(entry: Any) -> str:
    return f"{entry.__module__}.{entry.__qualname__}"


class Registry:
    """All categories in one place: for each the verbs register, get and list, and build where entries are classes."""

    def __init__(self) -> None:
        nodes: ClassCategory[LutNode] = ClassCategory("node", "difflut.nodes")
        self.register_node, self.get_node, self.list_nodes = nodes.register, nodes.get, nodes.names
        self.build_node = nodes.build

        layers: ClassCategory[BaseLUTLayer] = ClassCategory("layer", "difflut.layers")
        self.register_layer, self.get_layer, self.list_layers = layers.register, layers.get, layers.names
        self.build_layer = layers.build

        convolutions: ClassCategory[LutStage] = ClassCategory("convolutional layer", "difflut.layers")
        self.register_convolutional_layer = convolutions.register
        self.get_convolutional_layer, self.list_convolutional_layers = convolutions.get, convolutions.names
        self.build_convolutional_layer = convolutions.build

        encoders: ClassCategory[BaseEncoder] = ClassCategory("encoder", "difflut.encoders")
        self.register_encoder, self.get_encoder, self.list_encoders = encoders.register, encoders.get, encoders.names
        self.build_encoder = encoders.build

        models: ClassCategory[BaseLUTModel] = ClassCategory("model", "difflut.models")
        self.register_model, self.get_model, self.list_models = models.register, models.get, models.names
        self.build_model = models.build

        initializers: Category[Callable[..., None]] = Category(
            "initializer", "difflut.nodes.utils.initializers", suffix="_init", ignore_case=True
        )
        self.register_initializer, self.get_initializer = initializers.register, initializers.get
        self.list_initializers = initializers.names

        regularizers: Category[Callable[..., Tensor]] = Category(
            "regularizer", "difflut.nodes.utils.regularizers", suffix="_regularizer", ignore_case=True
        )
        self.register_regularizer, self.get_regularizer = regularizers.register, regularizers.get
        self.list_regularizers = regularizers.names

    def list_all(self) -> dict[str, list[str]]:
        """Return the names of everything that a model is built from, by category; models are in `list_models`."""
        return {
            "nodes": self.list_nodes(),
            "layers": self.list_layers(),
            "convolutional_layers": self.list_convolutional_layers(),
            "encoders": self.list_encoders(),
            "initializers": self.list_initializers(),
            "regularizers": self.list_regularizers(),
        }


REGISTRY = Registry()
register_node = REGISTRY.register_node
register_layer = REGISTRY.register_layer
register_convolutional_layer = REGISTRY.register_convolutional_layer
register_encoder = REGISTRY.register_encoder
register_model = REGISTRY.register_model
register_initializer = REGISTRY.register_initializer
register_regularizer = REGISTRY.register_regularizer

get_node_class = REGISTRY.get_node
get_layer_class = REGISTRY.get_layer
get_encoder_class = REGISTRY.get_encoder
get_registered_nodes = REGISTRY.list_nodes
get_registered_layers = REGISTRY.list_layers
get_registered_encoders = REGISTRY.list_encoders
get_registered_models = REGISTRY.list_models
get_registered_initializers = REGISTRY.list_initializers
get_registered_regularizers = REGISTRY.list_regularizers
