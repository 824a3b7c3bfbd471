"""How a gradient becomes a step: AdamW, Adafactor and LAMB, each written out, and how long the steps are.

    AdamW        Decoupled Weight Decay Regularization (Loshchilov and Hutter, 2017)    https://arxiv.org/abs/1711.05101
    Adafactor    Adaptive Learning Rates with Sublinear Memory Cost (Shazeer and Stern, 2018)
                 https://arxiv.org/abs/1804.04235
    LAMB         Large Batch Optimization for Deep Learning: Training BERT in 76 minutes (You et al., 2019)
                 https://arxiv.org/abs/1904.00962

They are torch optimizers: parameter groups, closures, schedulers and `state_dict` work as with any other, and a run
that is saved and resumed goes on bit by bit as if it had not stopped. State and arithmetic have the dtype of the
parameters, so keep those in float32 and leave rounding to autocast.

Left out: torch's kernels for many tensors at once (foreach, fused), AMSGrad, sparse gradients, Adafactor's optional
momentum (T5 trains without).
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimizer: what decays at the rate of `weight_decay`, and what does not decay at all.

    Biases and the weights of norms do not decay: they are the parameters with at most one axis. Matrices do,
    embeddings among them. Parameters without `requires_grad` are in neither group, tied ones in one, once.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.dim() > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.dim() <= 1], "weight_decay": 0.0},
    ]


def check_group(group: dict[str, Any]) -> None:
    """Refuse hyperparameters that can't be meant (ValueError) and parameters that can't be stepped (TypeError)."""
    for name in ("lr", "weight_decay"):
        if group[name] is not None and not group[name] >= 0:
            raise ValueError(f"{name}={group[name]}: expected at least 0")
    if not all(0 <= beta < 1 for beta in group.get("betas", ())):
        raise ValueError(f"betas={group['betas']}: expected 0 <= beta < 1 for both")
    for parameter in group["params"]:
        # In float16 the square of a small gradient, and every eps here, is zero.
        if not parameter.is_floating_point() or parameter.dtype == torch.float16:
            raise TypeError(f"a parameter has dtype {parameter.dtype}: expected float32, float64 or bfloat16")


class StepByStep(Optimizer):
    """The walk over groups and parameters that all optimizers share; `update` is what sets them apart."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch has it, and nothing is added if `check_group` refuses the group."""
        super().add_param_group(param_group)
        try:
            check_group(self.param_groups[-1])
        except (TypeError, ValueError):
            del self.param_groups[-1]
            raise

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update, in place, every parameter that has a gradient.

        `closure` computes the loss and its gradients anew; its result is returned. TypeError for sparse gradients.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.grad.is_sparse:
                    raise TypeError("a gradient is sparse: expected dense ones, so no nn.Embedding(sparse=True)")
                state = self.state[parameter]
                state["step"] = state.get("step", 0) + 1
                self.update(parameter, parameter.grad, state, group)
        return loss

    def update(self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change one `parameter` and its `state` in place; state["step"] counts from 1, `grad` stays as it is."""
        raise NotImplementedError


def average_moments(grad: Tensor, state: dict[str, Any], betas: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Adam's running means of the gradient and of its square, kept in `state`, without their bias: (m̂, v̂).

    Both means start at zero, which makes the first ones too small: m is divided by 1 - β1ᵗ and v by 1 - β2ᵗ, the sum
    of the weights that its gradients have in it (Kingma and Ba, 2014, section 3, https://arxiv.org/abs/1412.6980).
    """
    if "exp_avg" not in state:
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(grad), torch.zeros_like(grad)
    beta1, beta2 = betas
    mean = state["exp_avg"].lerp_(grad, 1 - beta1)
    square = state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    return mean / (1 - beta1 ** state["step"]), square / (1 - beta2 ** state["step"])


class AdamW(StepByStep):
    """Adam with weight decay apart from the gradient (algorithm 2): x ← x - lr (m̂ / (√v̂ + eps) + weight_decay x).

    The same as torch.optim.AdamW, whose defaults these are. Give it `parameter_groups` to spare biases and norms.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def update(self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        mean, square = average_moments(grad, state, group["betas"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(mean, square.sqrt().add_(group["eps"]), value=-group["lr"])


class LAMB(StepByStep):
    """Adam's step, as long in each tensor as the tensor itself (algorithm 2): for batches of tens of thousands.

    u = m̂ / (√v̂ + eps) + weight_decay x,    x ← x - lr (‖x‖ / ‖u‖) u

    The norms are those of one whole parameter, the paper's layer, and its φ is the identity. Where one of them is
    zero, as for a bias that has not moved yet, their ratio is taken as 1, or such a parameter would stay at zero.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def update(self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        mean, square = average_moments(grad, state, group["betas"])
        direction = mean / (square.sqrt() + group["eps"]) + group["weight_decay"] * parameter
        size, length = parameter.norm(), direction.norm()
        trust = torch.where((size > 0) & (length > 0), size / length, 1.0)
        parameter.sub_(group["lr"] * trust * direction)


def rms(x: Tensor) -> Tensor:
    """The root of the mean square of all numbers in `x`: a scalar."""
    return x.square().mean().sqrt()


class Adafactor(StepByStep):
    """Adam's second moment from the sums of its rows and columns, and steps relative to the weights (algorithms 4, 5).

    A parameter of shape [..., N, M] keeps N + M running means of squared gradients in place of N * M; one with less
    than two axes keeps them all. A step is divided by its RMS if that is more than `clip_threshold` (section 6), and
    multiplied by the RMS of the parameter, or by eps[1] if that is more (section 8). `eps` holds the paper's ε1 and
    ε2; the running mean forgets as 1 - t^`decay_rate` (section 7.2).

    With `lr` None the relative step is the paper's, min(0.01, 1/√t). T5 was trained with lr=1.0 and `t5_schedule`,
    and fine-tuned with lr=1e-3; a scheduler needs a number. `weight_decay` takes that share of the whole step's
    length off the parameter, and is not in the paper.

    The same as transformers' Adafactor with `scale_parameter=True`. torch.optim.Adafactor with `lr` as an upper
    limit to 1/√t has the same rule but for two details: it clamps to ε1 where the paper adds it, and its decay is not
    scaled by the parameter.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | None = None,
        eps: tuple[float, float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        weight_decay: float = 0.0,
    ) -> None:
        if not clip_threshold > 0:
            raise ValueError(f"clip_threshold={clip_threshold}: expected more than 0")
        if not decay_rate < 0:
            raise ValueError(f"decay_rate={decay_rate}: expected less than 0")
        defaults = {"lr": lr, "eps": eps, "clip_threshold": clip_threshold, "decay_rate": decay_rate}
        super().__init__(params, {**defaults, "weight_decay": weight_decay})

    def update(self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        relative_step = min(1e-2, state["step"] ** -0.5) if group["lr"] is None else group["lr"]
        step_size = relative_step * rms(parameter).clamp(min=group["eps"][1])
        direction = grad * self.inverse_root(grad.square() + group["eps"][0], state, group)
        direction /= (rms(direction) / group["clip_threshold"]).clamp(min=1.0)
        parameter.sub_(step_size * (direction + group["weight_decay"] * parameter))

    def inverse_root(self, square: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        """1/√v̂ after one more `square` of a gradient, in a shape that broadcasts to the parameter's."""
        weight = state["step"] ** group["decay_rate"]  # 1 at first: nothing is left of the zeros
        if square.dim() < 2:
            mean = state.setdefault("exp_avg_sq", torch.zeros_like(square))
            return mean.lerp_(square, weight).rsqrt()
        rows = state.setdefault("exp_avg_sq_row", torch.zeros_like(square[..., 0])).lerp_(square.mean(-1), weight)
        columns = state.setdefault("exp_avg_sq_col", torch.zeros_like(square[..., 0, :]))
        columns.lerp_(square.mean(-2), weight)
        # Roots before the product: ε1 times ε1, where a row and a column are without gradient, is zero in float32.
        share = rows / rows.mean(dim=-1, keepdim=True)  # [..., N]
        return share.rsqrt().unsqueeze(-1) * columns.rsqrt().unsqueeze(-2)  # [..., N, M]


# ---- schedules -------------------------------------------------------------------------------------------------------
# The factor by which the learning rate is multiplied at a step. Steps count from 0, as LambdaLR counts them:
#     LambdaLR(optimizer, lambda step: linear_schedule(step, warmup_steps=100, total_steps=10_000))
# A warm-up that starts at 0 leaves the weights as they are in its first step.


def check_step(step: int, warmup_steps: int, total_steps: float = math.inf) -> None:
    """ValueError unless 0 <= `step` and 0 <= `warmup_steps` < `total_steps`."""
    if step < 0:
        raise ValueError(f"step={step}: expected 0 or more")
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"warmup_steps={warmup_steps}: expected 0 <= warmup_steps < total_steps={total_steps}")


def linear_schedule(step: int, warmup_steps: int, total_steps: int) -> float:
    """From 0 to 1 in `warmup_steps`, then in a straight line to 0 at `total_steps`, and 0 from there (BERT, A.2)."""
    check_step(step, warmup_steps, total_steps)
    if step < warmup_steps:
        return step / warmup_steps
    return max(0.0, (total_steps - step) / (total_steps - warmup_steps))


def cosine_schedule(step: int, warmup_steps: int, total_steps: int, lowest: float = 0.0) -> float:
    """From 0 to 1 in `warmup_steps`, then down half a cosine to `lowest` at `total_steps`, and `lowest` from there.

    GPT-1 (section 4.1) goes down to 0, GPT-3 (appendix B) to 0.1. Without restarts (Loshchilov and Hutter, 2016,
    https://arxiv.org/abs/1608.03983). ValueError also for a `lowest` outside 0 ... 1.
    """
    check_step(step, warmup_steps, total_steps)
    if not 0 <= lowest <= 1:
        raise ValueError(f"lowest={lowest}: expected 0 ... 1")
    if step < warmup_steps:
        return step / warmup_steps
    progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * progress)) / 2


def inverse_square_root_schedule(step: int, warmup_steps: int) -> float:
    """From 0 to 1 in `warmup_steps`, then √(warmup_steps / step): the Transformer's, with a peak of 1 (section 5.3).

    ValueError if there is no warm-up, as the root has no beginning without one.
    """
    check_step(step, warmup_steps)
    if warmup_steps == 0:
        raise ValueError("warmup_steps=0: expected at least 1")
    return min(step / warmup_steps, math.sqrt(warmup_steps / max(step, 1)))


def t5_schedule(step: int, hold_steps: int = 10_000) -> float:
    """1 / √max(step, hold_steps): T5's relative step for Adafactor with lr=1.0 (Raffel et al., 2019, section 3.1.2).

    ValueError for less than one of `hold_steps`.
    """
    check_step(step, 0)
    if hold_steps < 1:
        raise ValueError(f"hold_steps={hold_steps}: expected at least 1")
    return 1 / math.sqrt(max(step, hold_steps))


def slanted_triangular_schedule(step: int, total_steps: int, cut_frac: float = 0.1, ratio: float = 32) -> float:
    """A short way up and a long way down (ULMFiT, section 3.2, equation 3; Howard and Ruder, 2018).

    From 1 / `ratio` up to 1 during the first `cut_frac` of `total_steps`, then down to 1 / `ratio` and no lower.
    https://arxiv.org/abs/1801.06146    ValueError if the way up has not a whole step, or for a `ratio` below 1.
    """
    if not 0 < cut_frac < 1:
        raise ValueError(f"cut_frac={cut_frac}: expected 0 < cut_frac < 1")
    if ratio < 1:
        raise ValueError(f"ratio={ratio}: expected at least 1")
    cut = math.floor(total_steps * cut_frac)
    check_step(step, cut, total_steps)
    if cut == 0:
        raise ValueError(f"total_steps={total_steps}: expected at least {1 / cut_frac:g}, one step of the way up")
    share = step / cut if step < cut else max(0.0, 1 - (step - cut) / (cut * (1 / cut_frac - 1)))
    return (1 + share * (ratio - 1)) / ratio
