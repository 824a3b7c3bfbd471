"""Against torch, transformers and the papers' equations in numpy; properties; resuming; then bad input."""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lecturekit.models.bert import BertConfig, BertForPreTraining
from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel
from lecturekit.optim import (
    LAMB,
    Adafactor,
    AdamW,
    cosine_schedule,
    inverse_square_root_schedule,
    linear_schedule,
    parameter_groups,
    slanted_triangular_schedule,
    t5_schedule,
)

SHAPES = ((3, 5), (7,), (), (2, 3, 4), (1, 6))
Make = Callable[..., Optimizer]


def tensors(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)) for shape in SHAPES]


def walk(optimizer: Optimizer, parameters: list[nn.Parameter], steps: range, scale: float = 1.0) -> list[Tensor]:
    """Feed gradients that depend on the step alone; `scale` makes every third one an outlier."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.grad = (noise * (scale if step % 3 == 0 else 1.0)).to(parameter)
        optimizer.step()
    return [parameter.detach().clone() for parameter in parameters]


def same_walk(ours: Make, theirs: Make, tol: float = 1e-10, dtype: torch.dtype = torch.float64) -> None:
    one, two = tensors(dtype), tensors(dtype)
    for got, expected in zip(
        walk(ours(one), one, range(1, 25), 30.0), walk(theirs(two), two, range(1, 25), 30.0), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=tol, atol=tol)


# ---- the same as others' ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.1, "weight_decay": 0.0},
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3},
        {"lr": 0.02, "betas": (0.0, 0.5)},
    ],
)
def test_adamw_is_torchs(options: dict[str, Any]) -> None:
    same_walk(lambda p: AdamW(p, **options), lambda p: torch.optim.AdamW(p, **options, foreach=False))
    same_walk(lambda p: AdamW(p, **options), lambda p: torch.optim.AdamW(p, **options), 1e-5, torch.float32)


def test_adamw_has_torchs_defaults() -> None:
    ours, theirs = AdamW(tensors()).defaults, torch.optim.AdamW(tensors()).defaults
    assert ours == {name: theirs[name] for name in ours}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.05},
        {"lr": 0.05, "weight_decay": 0.1},
        {"clip_threshold": 0.3, "decay_rate": -0.5, "eps": (1e-8, 2.0)},
    ],
)
def test_adafactor_is_transformers(options: dict[str, Any]) -> None:
    from transformers.optimization import Adafactor as Theirs

    relative = "lr" not in options
    same_walk(lambda p: Adafactor(p, **options), lambda p: Theirs(p, **options, relative_step=relative))
    same_walk(
        lambda p: Adafactor(p, **options), lambda p: Theirs(p, **options, relative_step=relative), 1e-5, torch.float32
    )


def test_adafactor_is_torchs_where_the_rules_agree() -> None:
    same_walk(Adafactor, lambda p: torch.optim.Adafactor(p, lr=1e-2, eps=(1e-30, 1e-3), foreach=False))


# ---- the same as the papers' equations -------------------------------------------------------------------------------
def gradients(steps: int, shape: tuple[int, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.normal(size=shape) for _ in range(steps)]


def trajectory(make: Make, start: np.ndarray, grads: list[np.ndarray]) -> np.ndarray:
    parameter = nn.Parameter(torch.tensor(start))
    optimizer = make([parameter])
    for grad in grads:
        parameter.grad = torch.tensor(grad)
        optimizer.step()
        assert np.array_equal(parameter.grad.numpy(), grad)
    return parameter.detach().numpy()


def test_lamb_by_algorithm_2() -> None:
    x, grads = np.linspace(-2, 3, 12).reshape(3, 4), gradients(6, (3, 4))
    got = trajectory(lambda p: LAMB(p, lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.2), x, grads)
    m = v = np.zeros_like(x)
    for t, g in enumerate(grads, start=1):
        m = 0.8 * m + 0.2 * g
        v = 0.9 * v + 0.1 * g**2
        r = (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-3)
        u = r + 0.2 * x
        x = x - 0.1 * np.sqrt((x**2).sum()) / np.sqrt((u**2).sum()) * u
    np.testing.assert_allclose(got, x, rtol=1e-12)


def test_adafactor_by_algorithms_4_and_5() -> None:
    x, grads = np.linspace(-2, 3, 12).reshape(3, 4), gradients(6, (3, 4))
    got = trajectory(Adafactor, x, grads)
    r, c = np.zeros(3), np.zeros(4)
    for t, g in enumerate(grads, start=1):
        beta = 1 - t**-0.8
        alpha = max(1e-3, np.sqrt((x**2).mean())) * min(1e-2, 1 / math.sqrt(t))
        r = beta * r + (1 - beta) * (g**2 + 1e-30).sum(axis=1)
        c = beta * c + (1 - beta) * (g**2 + 1e-30).sum(axis=0)
        u = g / np.sqrt(np.outer(r, c) / r.sum())
        x = x - alpha * u / max(1, np.sqrt((u**2).mean()))
    np.testing.assert_allclose(got, x, rtol=1e-12)
    vector, grads = np.linspace(-2, 3, 5), gradients(6, (5,))
    got = trajectory(Adafactor, vector, grads)
    v = np.zeros(5)
    for t, g in enumerate(grads, start=1):
        alpha = max(1e-3, np.sqrt((vector**2).mean())) * min(1e-2, 1 / math.sqrt(t))
        v = (1 - t**-0.8) * v + t**-0.8 * (g**2 + 1e-30)
        u = g / np.sqrt(v)
        vector = vector - alpha * u / max(1, np.sqrt((u**2).mean()))
    np.testing.assert_allclose(got, vector, rtol=1e-12)


# ---- properties ------------------------------------------------------------------------------------------------------
OPTIMIZERS = [AdamW, LAMB, Adafactor, lambda p: Adafactor(p, lr=0.02, weight_decay=0.1)]
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS, ids=["AdamW", "LAMB", "Adafactor", "Adafactor with lr"])


def test_adafactor_keeps_rows_and_columns_only() -> None:
    parameters = tensors()
    optimizer = Adafactor(parameters)
    walk(optimizer, parameters, range(1, 2))
    sizes = [sum(v.numel() for v in optimizer.state[p].values() if isinstance(v, Tensor)) for p in parameters]
    assert sizes == [3 + 5, 7, 1, 2 * (3 + 4), 1 + 6]


def test_a_parameter_at_zero_starts_to_move_with_lamb() -> None:
    got = trajectory(lambda p: LAMB(p, lr=0.1, eps=0.0), np.zeros(3), [np.array([2.0, -5.0, 0.5])])
    np.testing.assert_allclose(got, [-0.1, 0.1, -0.1])


def test_lamb_steps_are_as_long_as_the_tensor() -> None:
    start = np.linspace(-2, 3, 12).reshape(3, 4)
    for size in (1e-3, 1.0, 1e3):
        moved = trajectory(lambda p: LAMB(p, lr=0.1), size * start, gradients(1, (3, 4))) - size * start
        np.testing.assert_allclose(np.linalg.norm(moved), 0.1 * np.linalg.norm(size * start), rtol=1e-9)


@pytest.mark.parametrize("make", [AdamW, LAMB, Adafactor])
def test_tokens_without_gradient_are_no_nan(make: Make) -> None:
    embedding = nn.Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    optimizer = make([embedding])
    before = embedding.detach().clone()
    embedding.grad = torch.zeros(6, 4)
    optimizer.step()
    assert embedding.isfinite().all()
    embedding.grad[1, :2] = 1.0  # rows *and* columns without any gradient
    optimizer.step()
    assert embedding.isfinite().all()
    assert (embedding[1, :2] < before[1, :2]).all()


@every_optimizer
def test_parameters_without_gradient_stay(make: Make) -> None:
    parameters = tensors()
    optimizer = make(parameters)
    before = parameters[0].detach().clone()
    walk(optimizer, parameters[1:], range(1, 4))
    assert torch.equal(parameters[0], before)
    assert parameters[0] not in optimizer.state


@every_optimizer
def test_training_goes_down_and_a_closure_is_run(make: Make) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    inputs = torch.randn(64, 4)
    wanted = inputs.prod(dim=1, keepdim=True)
    optimizer = make(model.parameters())

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (model(inputs) - wanted).square().mean()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(150)]
    assert losses[-1] < 0.9 * losses[0]


@every_optimizer
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_a_resumed_run_goes_on_bit_by_bit(make: Make, dtype: torch.dtype) -> None:
    whole = tensors(dtype)
    wanted = walk(make(whole), whole, range(1, 12))
    first = tensors(dtype)
    optimizer = make(first)
    walk(optimizer, first, range(1, 6))
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "parameters": [p.data for p in first]}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = [nn.Parameter(data) for data in saved["parameters"]]
    resumed = make(second)
    resumed.load_state_dict(saved["optimizer"])
    for got, expected in zip(walk(resumed, second, range(6, 12)), wanted, strict=True):
        assert torch.equal(got, expected)


def test_a_schedule_is_resumed_with_its_optimizer() -> None:
    def run(steps: range, saved: tuple[Any, ...] | None = None) -> tuple[Any, ...]:
        parameters = tensors()
        optimizer = AdamW(parameters, lr=0.1)
        schedule = LambdaLR(optimizer, lambda step: linear_schedule(step, 3, 10))
        if saved:
            for parameter, data in zip(parameters, saved[0], strict=True):
                parameter.data.copy_(data)
            optimizer.load_state_dict(saved[1])
            schedule.load_state_dict(saved[2])
        for step in steps:
            walk(optimizer, parameters, range(step, step + 1))
            schedule.step()
        return [p.data for p in parameters], optimizer.state_dict(), schedule.state_dict()

    whole, halves = run(range(1, 9)), run(range(5, 9), run(range(1, 5)))
    assert all(torch.equal(a, b) for a, b in zip(whole[0], halves[0], strict=True))
    assert whole[1]["param_groups"][0]["lr"] == pytest.approx(0.1 * 2 / 7)


# ---- what decays -----------------------------------------------------------------------------------------------------
def test_biases_and_norms_do_not_decay() -> None:
    bert = BertForPreTraining(
        BertConfig(vocab_size=30, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=8)
    )
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=11, n_positions=8, n_embd=12, n_layer=2, n_head=3, eos_token_id=None))
    for model in (bert, gpt):
        names = {id(p): name for name, p in model.named_parameters()}
        of_norms = {id(p) for m in model.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
        exempt = {name for i, name in names.items() if i in of_norms or name.endswith("bias")}
        decaying, spared = parameter_groups(model, 0.1)
        assert {names[id(p)] for p in spared["params"]} == exempt
        assert {names[id(p)] for p in decaying["params"]} == set(names.values()) - exempt
        assert len(decaying["params"]) + len(spared["params"]) == len(names)
        assert (decaying["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)


@pytest.mark.parametrize("make", [AdamW, LAMB, lambda p: Adafactor(p, lr=1e-2)])
def test_groups_decay_at_their_own_rates(make: Make) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Linear(2, 3))
    model[2].weight.requires_grad_(False)
    nn.init.ones_(model[0].bias)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make(parameter_groups(model, 0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"0.weight"}
    assert model[0].weight.norm() < before["0.weight"].norm()


# ---- schedules -------------------------------------------------------------------------------------------------------
def huggingface(make: Callable[..., LambdaLR], **options: Any) -> list[float]:
    schedule = make(torch.optim.SGD(tensors(), lr=1.0), **options)
    return [schedule.lr_lambdas[0](step) for step in range(60)]


@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_schedules_are_huggingfaces(warmup: int) -> None:
    from transformers import optimization as hf

    steps = {"num_warmup_steps": warmup, "num_training_steps": 47}
    line = huggingface(hf.get_linear_schedule_with_warmup, **steps)
    assert [linear_schedule(step, warmup, 47) for step in range(60)] == pytest.approx(line)
    cosine = huggingface(hf.get_cosine_schedule_with_warmup, **steps)[:48]  # past the end theirs climbs again
    assert [cosine_schedule(step, warmup, 47) for step in range(48)] == pytest.approx(cosine)
    lifted = huggingface(hf.get_cosine_with_min_lr_schedule_with_warmup, **steps, min_lr_rate=0.1)[:48]
    assert [cosine_schedule(step, warmup, 47, 0.1) for step in range(48)] == pytest.approx(lifted)
    assert [cosine_schedule(step, warmup, 47, 0.1) for step in (48, 100)] == pytest.approx([0.1, 0.1])
    if warmup:
        root = huggingface(hf.get_inverse_sqrt_schedule, num_warmup_steps=warmup)
        assert [inverse_square_root_schedule(step, warmup) for step in range(60)] == pytest.approx(root)


def test_inverse_square_root_is_the_transformers_rate() -> None:
    from lecturekit.models.transformer import learning_rate

    peak = learning_rate(40, 64, 40)
    assert [peak * inverse_square_root_schedule(step, 40) for step in range(1, 200)] == pytest.approx(
        [learning_rate(step, 64, 40) for step in range(1, 200)]
    )


def test_slanted_triangle_by_hand() -> None:
    rates = [slanted_triangular_schedule(step, 100, 0.1, 32) for step in range(101)]
    assert rates[0] == 1 / 32
    assert rates[5] == pytest.approx((1 + 0.5 * 31) / 32)
    assert rates.index(max(rates)) == 10
    assert rates[10] == 1
    assert rates[55] == pytest.approx((1 + 0.5 * 31) / 32)
    assert rates[100] == pytest.approx(1 / 32)
    assert slanted_triangular_schedule(500, 100) == 1 / 32


@given(st.integers(10, 3000), st.floats(0.1, 0.9), st.floats(1, 64))
def test_slanted_triangle_has_one_peak(total: int, cut_frac: float, ratio: float) -> None:
    rates = [slanted_triangular_schedule(step, total, cut_frac, ratio) for step in range(total + 1)]
    peak = math.floor(total * cut_frac)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[peak] == pytest.approx(1)
    assert min(rates) >= 1 / ratio - 1e-12


def test_t5_holds_and_then_falls() -> None:
    assert [t5_schedule(step) for step in (0, 1, 10_000, 40_000, 2**19)] == pytest.approx(
        [0.01, 0.01, 0.01, 0.005, 2**-9.5]
    )


# ---- bad input -------------------------------------------------------------------------------------------------------
def test_bad_hyperparameters() -> None:
    with pytest.raises(ValueError, match=r"^lr=-1: expected at least 0$"):
        AdamW(tensors(), lr=-1)
    with pytest.raises(ValueError, match=r"^lr=nan: expected at least 0$"):
        LAMB(tensors(), lr=math.nan)
    with pytest.raises(ValueError, match=r"^weight_decay=-0.1: expected at least 0$"):
        Adafactor([{"params": tensors(), "weight_decay": -0.1}])
    with pytest.raises(ValueError, match=r"^betas=\(0.9, 1.0\): expected 0 <= beta < 1 for both$"):
        AdamW(tensors(), betas=(0.9, 1.0))
    with pytest.raises(ValueError, match=r"^clip_threshold=0: expected more than 0$"):
        Adafactor(tensors(), clip_threshold=0)
    with pytest.raises(ValueError, match=r"^decay_rate=0.8: expected less than 0$"):
        Adafactor(tensors(), decay_rate=0.8)


@every_optimizer
def test_bad_parameters(make: Make) -> None:
    with pytest.raises(
        TypeError, match=r"^a parameter has dtype torch.float16: expected float32, float64 or bfloat16$"
    ):
        make(tensors(torch.float16))
    optimizer = make(tensors())
    with pytest.raises(TypeError, match=r"dtype torch.complex64"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2, dtype=torch.complex64))]})
    assert len(optimizer.param_groups) == 1
    embedding = nn.Embedding(4, 3, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(
        TypeError, match=r"^a gradient is sparse: expected dense ones, so no nn.Embedding\(sparse=True\)$"
    ):
        make(embedding.parameters()).step()


def test_bad_schedules() -> None:
    with pytest.raises(ValueError, match=r"^step=-1: expected 0 or more$"):
        linear_schedule(-1, 2, 3)
    with pytest.raises(ValueError, match=r"^warmup_steps=3: expected 0 <= warmup_steps < total_steps=3$"):
        cosine_schedule(0, 3, 3)
    with pytest.raises(ValueError, match=r"^lowest=2: expected 0 \.\.\. 1$"):
        cosine_schedule(0, 1, 3, 2)
    with pytest.raises(ValueError, match=r"^warmup_steps=0: expected at least 1$"):
        inverse_square_root_schedule(5, 0)
    with pytest.raises(ValueError, match=r"^hold_steps=0: expected at least 1$"):
        t5_schedule(5, 0)
    with pytest.raises(ValueError, match=r"^total_steps=9: expected at least 10, one step of the way up$"):
        slanted_triangular_schedule(0, 9)
    with pytest.raises(ValueError, match=r"^cut_frac=1: expected 0 < cut_frac < 1$"):
        slanted_triangular_schedule(0, 9, 1)
    with pytest.raises(ValueError, match=r"^ratio=0.5: expected at least 1$"):
        slanted_triangular_schedule(0, 90, 0.1, 0.5)
