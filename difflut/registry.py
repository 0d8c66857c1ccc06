"""Names of the building blocks: nodes, layers, encoders, models.

A building block registers itself where it is defined::

    @register_node("dwn")
    class DWNNode(LutNode): ...

Looking a name up first imports the package where the built-in blocks of its kind live, so this module alone knows
every built-in name and yet loads nothing until it is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from difflut.encoders.base_encoder import BaseEncoder
    from difflut.layers.base_layer import BaseLUTLayer
    from difflut.models.base_model import BaseLUTModel
    from difflut.nodes.base_node import LutNode

Base = TypeVar("Base")
Class = TypeVar("Class", bound=type)


class Category(Generic[Base]):
    """The names of one kind of building block.

    Parameters
    ----------
    kind : what an entry is called in messages, e.g. ``"node"``.
    home : package whose import registers the built-in entries.
    """

    def __init__(self, kind: str, home: str) -> None:
        self._kind = kind
        self._home = home
        self._entries: dict[str, type[Base]] = {}

    def register(self, name: str) -> Callable[[Class], Class]:
        """Return a class decorator that files the class under `name`.

        Raises
        ------
        ValueError : `name` already belongs to another class.
        """

        def file(entry: Class) -> Class:
            present = self._entries.get(name)
            if present not in (None, entry):
                raise ValueError(
                    f"The {self._kind} name {name!r} is taken by {_origin(self._entries[name])}, "
                    f"so {_origin(entry)} needs another name."
                )
            self._entries[name] = entry
            return entry

        return file

    def get(self, name: str) -> type[Base]:
        """Return the class called `name`; an unknown name is a ValueError that lists the known ones."""
        if name not in self.names():
            raise ValueError(f"Unknown {self._kind} {name!r}; available: {', '.join(self.names())}.")
        return self._entries[name]

    def names(self) -> list[str]:
        """Return the known names, sorted."""
        import_module(self._home)
        return sorted(self._entries)


def _origin(entry: type) -> str:
    return f"{entry.__module__}.{entry.__qualname__}"


class Registry:
    """All categories in one place, with the three verbs register, get and list for each."""

    def __init__(self) -> None:
        nodes: Category[LutNode] = Category("node", "difflut.nodes")
        self.register_node, self.get_node, self.list_nodes = nodes.register, nodes.get, nodes.names
        layers: Category[BaseLUTLayer] = Category("layer", "difflut.layers")
        self.register_layer, self.get_layer, self.list_layers = layers.register, layers.get, layers.names
        encoders: Category[BaseEncoder] = Category("encoder", "difflut.encoders")
        self.register_encoder, self.get_encoder, self.list_encoders = encoders.register, encoders.get, encoders.names
        models: Category[BaseLUTModel] = Category("model", "difflut.models")
        self.register_model, self.get_model, self.list_models = models.register, models.get, models.names


REGISTRY = Registry()
register_node = REGISTRY.register_node
register_layer = REGISTRY.register_layer
register_encoder = REGISTRY.register_encoder
register_model = REGISTRY.register_model
