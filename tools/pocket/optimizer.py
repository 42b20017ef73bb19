"""Muon for the stacked matrices of the pocket model, AdamW for everything else.

Muon (Jordan et al., 2024) replaces a matrix's momentum by the nearest orthogonal matrix, so that
every direction learns at the same pace.
"""

import torch
from network import HIDDEN, MLP, Weights

MOMENTUM = 0.95
BETAS = (0.9, 0.95)
EPSILON = 1e-8
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_ROUNDS = 5

# Muon's step grows with the square root of outputs over inputs, where that is above 1.
_TALL = (MLP / HIDDEN) ** 0.5
MATRIX_SCALE = {
    "square": torch.ones(1, 4, 1, 1),
    "wide": torch.tensor([_TALL, _TALL, 1.0]).view(1, 3, 1, 1),
}


def initial_state(masters: Weights) -> Weights:
    """Zeros: one tensor a matrix family, `NAME.first` and `NAME.second` else, and the count."""
    state = {"steps": torch.zeros((), dtype=torch.int64)}
    for name, master in masters.items():
        if name in MATRIX_SCALE:
            state[name] = torch.zeros_like(master)
        else:
            state[f"{name}.first"] = torch.zeros_like(master)
            state[f"{name}.second"] = torch.zeros_like(master)
    return state


def clip(gradients: Weights, norm: float) -> None:
    """Scale all gradients in place so that together they are at most `norm` long."""
    length = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    scale = (norm / length).clamp(max=1.0)
    for gradient in gradients.values():
        gradient *= scale


def orthogonalized(matrices: torch.Tensor) -> torch.Tensor:
    """[..., rows, columns] with rows >= columns -> the same, all singular values near 1."""
    a, b, c = NEWTON_SCHULZ
    x = matrices.flatten(0, -3).mT.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT.reshape(matrices.shape).float()


def update(
    masters: Weights, gradients: Weights, state: Weights, muon_rate: float, adam_rate: float
) -> None:
    """One step in place on `masters` and `state`."""
    state["steps"] += 1
    corrections = [1 - beta ** state["steps"].item() for beta in BETAS]
    for name, master in masters.items():
        gradient = gradients[name]
        if name in MATRIX_SCALE:
            momentum = state[name].lerp_(gradient, 1 - MOMENTUM)
            direction = orthogonalized(gradient.lerp(momentum, MOMENTUM))
            master -= muon_rate * MATRIX_SCALE[name] * direction
        else:
            first = state[f"{name}.first"].lerp_(gradient, 1 - BETAS[0])
            second = state[f"{name}.second"].lerp_(gradient.square(), 1 - BETAS[1])
            root = (second / corrections[1]).sqrt() + EPSILON
            master -= adam_rate * (first / corrections[0]) / root
