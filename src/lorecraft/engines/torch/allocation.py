"""What a piece of work allocates, on any device."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lorecraft.engines.base import Watch


@contextmanager
def watched(device: str) -> Iterator[Watch]:
    """See ``Engine.watched``: by CUDA's own counter there, elsewhere by the tensors themselves."""
    watch = Watch()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield watch
        watch.bytes = torch.cuda.max_memory_allocated() - before
        return
    with _Tensors() as tensors:
        yield watch
    watch.bytes = tensors.peak


class _Tensors(TorchDispatchMode):
    """Counts the storages that come to life within, and those that die."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        for given in tree_leaves((args, kwargs)):
            if isinstance(given, torch.Tensor):
                self._meet(given, new=False)
        result = function(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, torch.Tensor):
                self._meet(made, new=True)
        return result

    def _meet(self, tensor: torch.Tensor, new: bool) -> None:
        if tensor.is_mkldnn:  # weights laid out anew where memory is in plenty: no storage to see
            return
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._known:
            return
        size = storage.nbytes() if new else 0
        self._known.add(address)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, address, size).atexit = False

    def _forget(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.now -= size
