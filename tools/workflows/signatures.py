"""The signatures of node classes: from a server where there is one, else from what is stored of ComfyUI's own and of known custom nodes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from lifeos import foreign
from tools.backends.backend import Backend, NodeDeclaration
from tools.workflows.core_signatures import read_stored
from tools.workflows.custom_signatures import CUSTOM_CLASSES
from tools.workflows.declarations import DeclaredNode, read_declaration


class Signatures:
    """Looks up the declaration of a node class, each once. `is_live`: a server was asked, so that its choices are what there is."""

    def __init__(self, look_up: Callable[[str], NodeDeclaration | None], *, is_live: bool = False) -> None:
        self._look_up = look_up
        self._known: dict[str, NodeDeclaration | None] = {}
        self.is_live = is_live

    def of(self, class_type: str) -> NodeDeclaration | None:
        """The declaration of a class, None where nobody knows it."""
        if class_type not in self._known:
            self._known[class_type] = self._look_up(class_type)
        return self._known[class_type]


@functools.cache
def stored_signatures() -> Signatures:
    """What is known without a server."""
    return Signatures(_look_up_stored)


def _look_up_stored(class_type: str) -> NodeDeclaration | None:
    found = read_stored().classes.get(class_type) or CUSTOM_CLASSES.get(class_type)
    if found is None:
        return None
    return read_declaration(foreign.convert(dict(found), DeclaredNode, f"the stored signature of {class_type}"))


def signatures_of(servers: Iterable[Backend]) -> Signatures:
    """Those of the first server that lists its nodes, and what is stored for classes that it does not have."""
    server = next((each for each in servers if each.offers.lists_nodes), None)
    if server is None:
        return stored_signatures()
    asked = server

    def look_up(class_type: str) -> NodeDeclaration | None:
        return asked.node(class_type) or _look_up_stored(class_type)

    return Signatures(look_up, is_live=True)
