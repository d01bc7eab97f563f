"""Optimizers that a configuration can name beside those of torch."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer


class MuonWithAdamW(Optimizer):
    """Muon on the matrices inside the blocks, AdamW on everything else: embeddings, the head, norms, biases.

    Muon orthogonalises the momentum of a matrix, which is of use where a matrix maps one space into another; rows of a
    table of tokens are looked up one by one (https://kellerjordan.github.io/posts/muon). Its steps are scaled to the
    root mean square of AdamW's (arXiv 2502.16982), so one ``lr`` and one ``weight_decay`` serve both. Takes parameter
    groups as `trajlab.training.language_model.decay_groups` makes them; a token table is known by ``is_token_table``.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
    ) -> None:
        groups = list(params)
        super().__init__([dict(g) for g in groups], {"lr": lr, "weight_decay": weight_decay})
        muon = [{**g, "params": [p for p in g["params"] if _orthogonalised(p)]} for g in groups]
        adamw = [{**g, "params": [p for p in g["params"] if not _orthogonalised(p)]} for g in groups]
        self._parts: list[Optimizer] = []
        if muon := [g for g in muon if g["params"]]:
            self._parts.append(
                Muon(muon, lr=lr, weight_decay=weight_decay, momentum=momentum, adjust_lr_fn="match_rms_adamw")
            )
        if adamw := [g for g in adamw if g["params"]]:
            self._parts.append(AdamW(adamw, lr=lr, weight_decay=weight_decay, betas=(betas[0], betas[1]), eps=eps))
        self._share_groups()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step of both, at the rates that the groups hold now."""
        loss = closure() if closure is not None else None
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()

    def _share_groups(self) -> None:
        """The groups are the parts' own, so that a rate that is set here is set there."""
        self.param_groups = [group for part in self._parts for group in part.param_groups]


def _orthogonalised(parameter: Tensor) -> bool:
    return parameter.ndim == 2 and not getattr(parameter, "is_token_table", False)
