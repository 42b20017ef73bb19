"""AdamW on one flat buffer (Loshchilov and Hutter 2017, arXiv:1711.05101)."""

from __future__ import annotations

import torch

from lorecraft.engines.base import Update
from lorecraft.engines.torch.adapters import Adapter

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamW:
    """The trainable adapter's gradients and moments, all fp32, each as long as the adapter."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.gradient = torch.zeros_like(adapter.master)
        self.first = torch.zeros_like(adapter.master)
        self.second = torch.zeros_like(adapter.master)
        self.step = 0
        self.weight = 0.0
        adapter.learn(self.gradient)

    def clear(self) -> None:
        self.gradient.zero_()
        self.weight = 0.0

    def update(self, learning_rate: float, max_norm: float, weight_decay: float) -> Update:
        """One step on the mean gradient; nothing but the gradients changes if it is not finite."""
        if self.weight <= 0:
            raise ValueError("update without anything accumulated")
        norm = float(self.gradient.norm()) / self.weight
        applied = norm < float("inf")
        if applied:
            scale = 1.0 / self.weight
            if 0 < max_norm < norm:
                scale *= max_norm / norm
            self._apply(self.gradient.mul_(scale), learning_rate, weight_decay)
        self.clear()
        return Update(norm, applied)

    def _apply(self, gradient: torch.Tensor, learning_rate: float, weight_decay: float) -> None:
        self.step += 1
        self.first.lerp_(gradient, 1 - BETAS[0])
        self.second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        root = (self.second / (1 - BETAS[1] ** self.step)).sqrt_().add_(EPSILON)
        master = self.adapter.master
        master.mul_(1 - learning_rate * weight_decay)
        master.addcdiv_(self.first, root, value=-learning_rate / (1 - BETAS[0] ** self.step))
        self.adapter.publish()
