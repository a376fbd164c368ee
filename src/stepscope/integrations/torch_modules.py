"""Module hierarchies: in which nn.Module's forward an operator of torch runs, in torch's own words for TorchScript.

    TOP(Net)::forward.block.0(Linear)::forward

Modules are named as the one around them has them. torch's hooks of all modules are there while a window is open; what
torch.compile has compiled is compiled once more for that, of which torch may warn, and is one module. Operators of the
backward are in none.
"""

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["KEY", "Modules"]

KEY = "Module Hierarchy"


class _Stacks(threading.local):
    """The modules that the calling thread is in, outermost first, each with the hierarchy down to it."""

    def __init__(self) -> None:
        self.of: list[tuple[Any, str]] = []


class Modules:
    """Knows the module that a thread is in, from start to stop."""

    def __init__(self) -> None:
        self._stacks = _Stacks()
        self._names: MutableMapping[Any, dict[int, str]] = WeakKeyDictionary()
        self._hooks: list[Any] = []

    def start(self) -> None:
        """Be told of each forward from now on."""
        module = torch.nn.modules.module
        self._hooks = [
            module.register_module_forward_pre_hook(self._enter),
            module.register_module_forward_hook(self._leave, always_call=True),
        ]

    def stop(self) -> None:
        """Be told no more."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def hierarchy(self) -> str:
        """Of the module that the calling thread is in; "" of none."""
        stack = self._stacks.of
        return stack[-1][1] if stack else ""

    def _enter(self, module: Any, _: Any) -> None:
        if torch.compiler.is_compiling():  # the compiler follows the hooks of what it compiles, and knows no such list
            return
        stack = self._stacks.of
        kind = type(module).__name__
        if not stack:
            stack.append((module, f"TOP({kind})::forward"))
            return
        around, hierarchy = stack[-1]
        stack.append((module, f"{hierarchy}.{self._name_in(around, module)}({kind})::forward"))

    def _leave(self, module: Any, *_: Any) -> None:
        if torch.compiler.is_compiling():
            return
        stack = self._stacks.of
        # One whose forward began before the window is not there; one that a hook of the program kept from its end is.
        if any(each is module for each, _ in stack):
            while stack.pop()[0] is not module:
                pass

    def _name_in(self, around: Any, module: Any) -> str:
        """What a module is called in the one around it, perhaps some levels down; SELF where it calls itself."""
        names = self._names.get(around)
        if names is None or id(module) not in names:
            names = {id(each): name for name, each in around.named_modules()} | {id(around): "SELF"}
            names.setdefault(id(module), "")  # one that is made as it is called
            self._names[around] = names
        return names[id(module)]
