"""Engines: what computes. `base.py` is the seam; an engine's library is imported on demand."""

from __future__ import annotations

from lorecraft.engines.base import Engine
from lorecraft.errors import EngineError

NAMES = ("auto", "torch", "fake")


def create(name: str = "auto") -> Engine:
    """A fresh engine with no model: ``torch``, ``fake``, or ``auto`` (torch).

    Raises EngineError for an unknown name, or when the engine's library is not installed.
    """
    if name == "fake":
        from lorecraft.engines.fake import FakeEngine

        return FakeEngine()
    if name in ("auto", "torch"):
        try:
            from lorecraft.engines.torch.engine import TorchEngine
        except ModuleNotFoundError as missing:
            if missing.name not in ("torch", "transformers"):
                raise
            raise EngineError(
                f"the torch engine needs {missing.name}, which is not installed",
                fix="pip install torch transformers",
            ) from missing
        return TorchEngine()
    raise EngineError(f"no engine is called {name!r}", expected=" or ".join(NAMES))
