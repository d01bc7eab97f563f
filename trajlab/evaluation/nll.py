"""Token losses: the one place where logits become negative log-likelihoods.

`token_losses` scores a batch for evaluation, `mean_loss` for training, `logit_losses` where logits are there already.
The first two chunk the head: a logits matrix of 4,096 tokens × 4,096 entries is 64 MB that would be written and read
several times, and the CPU's memory is the limit there. Shapes: B windows, S = T + 1 tokens of a window, T positions, N = B·T, D width, V vocabulary.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trajlab.protocols import CausalLM

CHUNK_TOKENS = 512
"""Tokens whose logits are alive at once: 8 MB at a vocabulary of 4,096, 128 … 2,048 are within 4 % of each other (docs/log.md)."""


def token_losses(model: CausalLM, tokens_BS: Tensor, chunk: int = CHUNK_TOKENS) -> Tensor:
    """The loss of every token after the first, in nats, as float32 of shape (B, T). No gradient.

    A model that says ``linear_head = False`` is scored from its own logits, window by window.
    """
    if not getattr(model, "linear_head", True):  # see `trajlab.protocols.HeadFlag`
        return _losses_from_logits(cast(nn.Module, model), tokens_BS)
    with torch.no_grad():
        hidden_BTD = model.hidden(tokens_BS[:, :-1])
        hidden_ND = hidden_BTD.flatten(0, 1)
        targets_BT = tokens_BS[:, 1:]
        pieces = [
            F.cross_entropy(F.linear(h, model.head_weight).float(), t, reduction="none")
            for h, t in zip(hidden_ND.split(chunk), targets_BT.flatten().split(chunk), strict=True)
        ]
    return torch.cat(pieces).view(targets_BT.shape)


@torch.no_grad()
def _losses_from_logits(model: nn.Module, tokens_BS: Tensor) -> Tensor:
    pieces = []
    for window_S in tokens_BS:
        logits_TV = model(window_S[None, :-1])[0]
        pieces.append(logit_losses(logits_TV, window_S[1:]))
    return torch.stack(pieces)


def logit_losses(logits_xTV: Tensor, targets_xT: Tensor) -> Tensor:
    """The losses in nats, as float32 of the targets' shape (T,) or (B, T), on the logits' device."""
    targets = targets_xT.to(logits_xTV.device)
    return F.cross_entropy(logits_xTV.float().movedim(-1, 1), targets, reduction="none")


def mean_loss(hidden_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor, weights_BT: Tensor | None = None) -> Tensor:
    """The mean loss over tokens in nats, differentiable; with ``weights_BT`` the weighted mean Σ w·nll / Σ w."""
    targets_N = targets_BT.flatten()
    if weights_BT is None:
        scale_N = torch.full(targets_N.shape, 1 / targets_N.numel(), device=targets_N.device)
    else:
        scale_N = (weights_BT / weights_BT.sum()).flatten().float()
    return _ChunkedHead.apply(hidden_BTD.flatten(0, 1), weight_VD, targets_N, scale_N, CHUNK_TOKENS)


class _ChunkedHead(torch.autograd.Function):
    """Σ scale·nll with the gradients computed in the forward pass, chunk by chunk, so that no logits are kept."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, scale_N: Tensor, chunk: int
    ) -> Tensor:
        device = hidden_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_ND.dtype
        hidden_lp, weight_lp = hidden_ND.to(dtype), weight_VD.to(dtype)
        grad_hidden, grad_weight = torch.empty_like(hidden_ND), torch.zeros_like(weight_VD)
        loss = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        for start in range(0, len(targets_N), chunk):
            part = slice(start, start + chunk)
            h, scale = hidden_lp[part], scale_N[part, None]
            logits = (h @ weight_lp.T).float()
            log_z = logits.logsumexp(-1, keepdim=True)
            at_target = logits.gather(-1, targets_N[part, None])
            loss += ((log_z - at_target) * scale).sum()
            # d loss / d logits = scale · (softmax − one-hot), written over the logits
            logits.sub_(log_z).exp_().mul_(scale)
            logits.scatter_add_(-1, targets_N[part, None], -scale)
            d_logits = logits.to(dtype)
            grad_hidden[part] = d_logits @ weight_lp
            grad_weight += d_logits.T @ h
        ctx.save_for_backward(grad_hidden, grad_weight)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad, grad_weight * grad, None, None, None
