"""A CUDA device that is pretended: tensors stay on the CPU, but mixing the two raises as it would.

It finds what a machine without a GPU else cannot: a tensor made on the wrong device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda")
_DEVICE = torch.Tensor.device.__get__  # type: ignore[attr-defined] # a getter of C's
_MOVES = {torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda}
_LEAVES = {torch.Tensor.numpy, torch.Tensor.__array__}


class DeviceMismatch(Exception):
    """Tensors of both devices met in one operation, or numpy was given one of CUDA."""


def is_there(tensor: Tensor) -> bool:
    """Is it on the pretended device?"""
    return getattr(tensor, "_pretended", False)


class PretendedCuda(TorchFunctionMode):
    """While it is entered, `device="cuda"` works and is told apart from the CPU."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
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
        args, kwargs = tree_map(self._at_home, (args, kwargs))
        result = func(*args, **kwargs)
        goes = wanted == CUDA if wanted is not None else bool(there)

        def marked(value: Any) -> Any:
            if not isinstance(value, Tensor) or is_there(value) == goes:
                return value
            if any(value is x for x in given):
                value = value.clone()  # a move to where it is already gives the tensor itself
            value._pretended = goes  # type: ignore[attr-defined] # the mark
            return value

        return tree_map(marked, result)

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
