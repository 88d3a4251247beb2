"""A CUDA device that is pretended: tensors stay on the CPU, but mixing the two raises as it would.

It finds what a machine without a GPU else cannot: a tensor made on the wrong device, a copy
between the two, and a host that waits to look at a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda")
_DEVICE = torch.Tensor.device.__get__  # type: ignore[attr-defined] # a getter of C's
_COPIES = {torch.Tensor.copy_, torch.Tensor.__setitem__}
_MOVES = {torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda}
_LOOKS = {"item", "tolist", "nonzero", "__bool__", "__float__", "__int__", "__index__"}
_LEAVES = {torch.Tensor.numpy, torch.Tensor.__array__}


class DeviceMismatch(Exception):
    """Tensors of both devices met in one operation, or numpy was given one of CUDA."""


def is_there(tensor: Tensor) -> bool:
    """Is it on the pretended device?"""
    return getattr(tensor, "_pretended", False)


class Crossing(NamedTuple):
    """What went between host and device."""

    way: Literal["up", "down", "look"]
    """A look is a value that the host asks for in Python, and waits for."""
    waits: bool
    """Whether the host does until all that was asked of the device is done."""


class PretendedCuda(TorchFunctionMode):
    """While it is entered, `device="cuda"` works and is told apart from the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.crossings: list[Crossing] = []
        self.calls = 0
        """Operations that torch was asked for: each is a launch or more, or the host's."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.calls += 1
        if func is torch.device:
            return func(*args, **kwargs)
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        there = [x for x in given if is_there(x)]
        if func == _DEVICE:
            return CUDA if there else torch.device("cpu")
        if func in _LEAVES and there:
            raise DeviceMismatch(f"{func.__name__} of a CUDA tensor")
        asked = list(self._asked(func, args, kwargs))
        wanted = asked[-1] if asked else None
        source = kwargs.get("generator")
        if source is not None and (wanted or CUDA if there else wanted) == CUDA:
            raise DeviceMismatch(f"{func.__name__} on CUDA by a generator on the CPU")
        if there and not self._may_mix(func, args):
            for tensor in given:
                if tensor.dim() and not is_there(tensor):
                    raise DeviceMismatch(f"{func.__name__} of {tuple(tensor.shape)} on the CPU")
        goes = wanted == CUDA if wanted is not None else bool(there)
        self._note(func, args, kwargs, goes=goes)
        args, kwargs = tree_map(self._at_home, (args, kwargs))
        pinned = kwargs.pop("pin_memory", False)  # there is none without a GPU
        result = func(*args, **kwargs)
        if pinned:
            result._pinned = True

        def marked(value: Any) -> Any:
            if not isinstance(value, Tensor) or is_there(value) == goes:
                return value
            if any(value is x for x in given):
                value = value.clone()  # a move to where it is already gives the tensor itself
            value._pretended = goes  # type: ignore[attr-defined] # the mark
            return value

        return tree_map(marked, result)

    def _note(self, func: Any, args: Any, kwargs: Any, *, goes: bool) -> None:
        """Write down what crosses in a call whose result lies there if it `goes`."""
        name = getattr(func, "__name__", "")
        if name in _LOOKS and is_there(args[0]):
            self.crossings.append(Crossing("look", waits=True))
        elif func is torch.Tensor.__getitem__ and self._is_mask(args[1]):
            self.crossings.append(Crossing("look", waits=True))  # for how many values there are
        elif func in _COPIES:
            into, value = args[0], args[-1]
            if isinstance(value, Tensor) and is_there(into) != is_there(value):
                self._copy(value, into, kwargs)
        elif func in _MOVES and is_there(args[0]) != goes:
            self._copy(args[0], None, kwargs)
        elif func in (torch.tensor, torch.as_tensor, torch.asarray) and goes:
            self.crossings.append(Crossing("up", waits=True))

    @staticmethod
    def _is_mask(index: Any) -> bool:
        chosen = [x for x in tree_leaves(index) if isinstance(x, Tensor)]
        return any(is_there(x) and x.dtype == torch.bool for x in chosen)

    def _copy(self, value: Tensor, into: Tensor | None, kwargs: Any) -> None:
        up = not is_there(value)
        pinned = getattr(value if up else into, "_pinned", False)
        waits = not (kwargs.get("non_blocking") and pinned)
        self.crossings.append(Crossing("up" if up else "down", waits))

    @staticmethod
    def _asked(func: Any, args: Any, kwargs: dict[str, Any]) -> Iterator[torch.device]:
        """The devices that a call names."""
        if func is torch.Tensor.cpu:
            yield torch.device("cpu")
        named = [kwargs.get("device"), *(args if func in _MOVES else ())]
        for value in named:
            if _is_device(value):
                yield torch.device(value)

    @staticmethod
    def _may_mix(func: Any, args: Any) -> bool:
        """A slice takes values from anywhere; so does `copy_`."""
        if func is torch.Tensor.__setitem__:
            return not any(isinstance(x, Tensor) for x in tree_leaves(args[1]))
        return func is torch.Tensor.copy_

    @staticmethod
    def _at_home(value: Any) -> Any:
        return torch.device("cpu") if _is_device(value) else value


def _is_device(value: object) -> bool:
    return isinstance(value, torch.device) or (isinstance(value, str) and value in ("cpu", "cuda"))
