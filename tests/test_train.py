"""Against the textbook's loop bit by bit; resuming; two real processes; checkpoints that are refused; then bad input."""

import math
import os
import pickle
import random
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Generator, Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lecturekit import train as module
from lecturekit.layers import token_loss
from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel
from lecturekit.optim import LAMB, Adafactor, AdamW, linear_schedule, parameter_groups
from lecturekit.train import Step, evaluate, plot_history, save_checkpoint, train, training

CUDA = torch.cuda.is_available()
ROOT = Path(__file__).resolve().parents[1]


def small(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1)).double()


def draw(number: int, rows: int = 6) -> tuple[Tensor, Tensor]:
    x = torch.randn(rows, 3, generator=Generator().manual_seed(number), dtype=torch.float64)
    return x, x.prod(dim=1, keepdim=True)


def squared(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


def adamw(model: nn.Module) -> AdamW:
    return AdamW(parameter_groups(model, 0.1), lr=0.02)


def falling(step: int) -> float:
    return linear_schedule(step, 2, 30)


def weights(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def same(one: nn.Module, two: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(two), strict=True))


def run(model: nn.Module, steps: int = 5, batches: Any = draw, loss: Any = squared, **settings: Any) -> list[Step]:
    optimizer = settings.pop("optimizer", None) or adamw(model)
    return train(model, batches, loss, optimizer, steps, progress=False, **settings)


def apart(one: nn.Module, two: nn.Module) -> float:
    return max((a - b).abs().max().item() for a, b in zip(weights(one), weights(two), strict=True))


# ---- the loop --------------------------------------------------------------------------------------------------------
def test_it_is_the_textbooks_loop() -> None:
    ours, theirs = small(dropout=0.3), small(dropout=0.3)
    torch.manual_seed(1)
    history = run(ours, 12, schedule=falling, clip=0.5)
    torch.manual_seed(1)
    optimizer = adamw(theirs)
    for step in range(12):
        optimizer.zero_grad()
        loss = squared(theirs, draw(step))
        loss.backward()
        norm = nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * falling(step)
        optimizer.step()
        assert history[step][:5] == (step + 1, loss.item(), 0.02 * falling(step), norm.item(), 18)
    assert same(ours, theirs)
    assert max(step.norm for step in history) > 0.5


def test_a_clipped_step_is_shorter_and_the_norm_is_the_one_before() -> None:
    def after(clip: float | None) -> tuple[float, list[Tensor]]:
        model = small()
        history = run(model, 1, clip=clip, optimizer=torch.optim.SGD(model.parameters(), lr=1.0))
        return history[0].norm, [new - old for new, old in zip(weights(model), weights(small()), strict=True)]

    (norm, free), (same_norm, clipped) = after(None), after(0.1)
    assert norm == same_norm > 0.1
    for a, b in zip(free, clipped, strict=True):
        torch.testing.assert_close(a * 0.1 / norm, b, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_batches_are_one_large_batch(accumulate: int) -> None:
    whole, parts = small(), small()

    def large(number: int) -> tuple[Tensor, Tensor]:
        drawn = [draw(number * accumulate + i, rows=2 + i) for i in range(accumulate)]  # of unequal sizes
        return torch.cat([x for x, _ in drawn]), torch.cat([y for _, y in drawn])

    one = run(whole, 6, large)
    two = run(parts, 6, lambda i: draw(i, rows=2 + i % accumulate), accumulate=accumulate)
    assert apart(whole, parts) < 1e-12
    for a, b in zip(one, two, strict=True):
        assert a[:5] == pytest.approx(b[:5], rel=1e-9)


def masked_batch(number: int, rows: int, kept: float) -> tuple[Tensor, Tensor]:
    generator = Generator().manual_seed(number)
    ids = torch.randint(11, (rows, 8), generator=generator)
    return ids, ids.masked_fill(torch.rand(ids.shape, generator=generator) > kept, -100)


def test_every_target_counts_alike_however_they_are_spread() -> None:
    def tiny() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 11)).double()

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return token_loss(model(batch[0]), batch[1]), (batch[1] != -100).sum()

    def part(number: int) -> tuple[Tensor, Tensor]:
        return masked_batch(number, 3, (0.9, 0.0, 0.2)[number % 3])  # many targets, none, few

    def whole(number: int) -> tuple[Tensor, Tensor]:
        drawn = [part(3 * number + i) for i in range(3)]
        return torch.cat([x for x, _ in drawn]), torch.cat([y for _, y in drawn])

    one, two, careless = tiny(), tiny(), tiny()
    history = run(one, 5, whole, loss)
    again = run(two, 5, part, loss, accumulate=3)
    assert apart(one, two) < 1e-12
    assert [step.loss for step in again] == pytest.approx([step.loss for step in history], rel=1e-12)
    run(careless, 5, lambda i: part(3 * (i // 2) + 2 * (i % 2)), lambda m, b: loss(m, b)[0], accumulate=2)
    assert apart(one, careless) > 1e-4  # the mean of means is another thing
    held_out = [part(i) for i in range(6)]
    together = tuple(torch.cat(tensors) for tensors in zip(*held_out, strict=True))
    assert evaluate(one, held_out, loss) == pytest.approx(loss(one, together)[0].item(), rel=1e-12)


def test_a_batch_is_a_tensor_a_tuple_a_list_or_a_dictionary() -> None:
    models = [small() for _ in range(4)]
    run(models[0], 3)
    run(models[1], 3, lambda i: list(draw(i)))
    run(
        models[2],
        3,
        lambda i: {"x": draw(i)[0], "rest": {"y": draw(i)[1], "mask": None}},
        lambda m, b: F.mse_loss(m(b["x"]), b["rest"]["y"]),
    )
    run(models[3], 3, lambda i: torch.cat(draw(i), dim=1), lambda m, b: F.mse_loss(m(b[:, :3]), b[:, 3:]))
    assert all(same(models[0], model) for model in models[1:])


def test_lists_are_gone_through_again() -> None:
    one, two = small(), small()
    run(one, 7, [draw(i) for i in range(3)])
    run(two, 7, lambda i: draw(i % 3))
    assert same(one, two)


def test_held_out_batches_are_looked_at_and_nothing_else_changes() -> None:
    plain, watched = small(dropout=0.5), small(dropout=0.5)
    held_out = DataLoader(TensorDataset(*draw(99, 40)), batch_size=9, shuffle=True)  # draws when it begins
    torch.manual_seed(0)
    run(plain, 7)
    torch.manual_seed(0)
    history = run(watched, 7, held_out=held_out, evaluate_every=3)
    assert same(plain, watched)
    assert [step.number for step in history if step.held_out is not None] == [3, 6, 7]
    with torch.no_grad():
        expected = squared(watched.eval(), draw(99, 40)).item()
    assert history[-1].held_out == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("mode", [True, False])
def test_modes_and_rates_are_put_back(mode: bool) -> None:
    model, seen = small().train(mode), []
    optimizer = adamw(model)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        seen.append(model.training)
        return squared(model, batch)

    run(model, 3, loss=loss, held_out=[draw(0)], optimizer=optimizer, schedule=falling)
    assert seen == [True, True, True, False]
    assert model.training == mode
    assert [group["lr"] for group in optimizer.param_groups] == [0.02, 0.02]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not CUDA, reason="no GPU"))])
def test_autocast_computes_in_that_dtype_and_weights_stay_wide(device: str, dtype: torch.dtype) -> None:
    model = small().float().to(device)
    seen = []

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        got = model(batch[0].float())
        seen.append(got.dtype)
        return F.mse_loss(got.float(), batch[1].float())

    history = run(model, 60, loss=loss, autocast=dtype)
    assert set(seen) == {dtype}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert np.mean([step.loss for step in history[-10:]]) < np.mean([step.loss for step in history[:10]])


def test_a_step_that_overflows_float16_is_left_out_and_the_next_ones_are_not() -> None:
    model = small().float()

    def steep(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.mse_loss(model(batch[0].float()).float(), batch[1].float()) * 1e4

    history = run(model, 40, loss=steep, autocast=torch.float16)
    assert not math.isfinite(history[0].norm)
    assert math.isfinite(history[-1].norm)
    assert all(tensor.isfinite().all() for tensor in weights(model))
    assert not same(model, small().float())


# ---- watching and stopping -------------------------------------------------------------------------------------------
def test_a_reader_watches_live_and_stops_and_what_was_learnt_stays(tmp_path: Path) -> None:
    watched, whole = small(), small()
    numbers = []
    for history in training(watched, draw, squared, adamw(watched), 10, folder=tmp_path):
        numbers.append(history[-1].number)
        if len(numbers) == 4:
            break
    del history
    assert numbers == [1, 2, 3, 4]
    run(whole, 4)
    assert same(watched, whole)
    assert [path.name for path in module.checkpoints(tmp_path)] == ["step-4"]
    run(watched, 10, folder=tmp_path, resume=True)
    run(whole_again := small(), 10)
    assert same(watched, whole_again)


def test_a_callback_stops_too() -> None:
    model, seen = small(), []
    history = run(model, 10, watch=lambda step: seen.append(step.number) or step.number == 3)
    assert seen == [1, 2, 3] == [step.number for step in history]
    assert model.training


def test_the_bar_shows_loss_and_speed(capsys: pytest.CaptureFixture[str]) -> None:
    model = small()
    history = train(model, draw, squared, adamw(model), 5, held_out=[draw(0)])
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert f"loss={history[-1].loss:.3f}" in shown
    assert "tokens/s=" in shown
    assert f"held out {history[-1].held_out:.3f}" in shown
    run(model)
    assert capsys.readouterr() == ("", "")


def test_the_curve(tmp_path: Path) -> None:
    history = run(small(), 6, held_out=[draw(0)], evaluate_every=2)
    figure = plot_history(history)
    training_line, held_out = figure.axes[0].lines
    assert training_line.get_xydata().tolist() == [[step.number, step.loss] for step in history]
    assert held_out.get_xydata().tolist() == [[step.number, step.held_out] for step in history[1::2]]
    figure.savefig(tmp_path / "loss.png")
    with pytest.raises(ValueError, match="history is empty"):
        plot_history([])


# ---- resuming --------------------------------------------------------------------------------------------------------
def noisy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Uses all the random numbers that there are."""
    return squared(model, batch) * (0.5 + random.random() + np.random.random() + torch.rand(()).item())


def seed_all() -> None:
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)


def shuffled(generator: Generator) -> DataLoader:
    return DataLoader(TensorDataset(*draw(3, 10)), batch_size=4, shuffle=True, generator=generator)


SOURCES: dict[str, Callable[[Generator], Any]] = {
    "a function of the number": lambda generator: draw,
    "a function that draws from a generator": lambda generator: (
        lambda i: draw(int(torch.randint(99, (), generator=generator)))
    ),
    "a function that draws globally": lambda generator: lambda i: draw(random.randrange(99)),
    "a list": lambda generator: [draw(i) for i in range(3)],
    "a shuffling loader": lambda generator: DataLoader(TensorDataset(*draw(3, 10)), batch_size=4, shuffle=True),
    "a shuffling loader with a generator": shuffled,
    "an iterator": lambda generator: (draw(int(torch.randint(99, (), generator=generator))) for _ in range(99)),
}


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
@pytest.mark.parametrize("source", SOURCES)
def test_a_resumed_run_is_the_same_bit_by_bit(tmp_path: Path, source: str, stop: int) -> None:
    def go(folder: Path | None, steps: int, stop: int | None = None) -> tuple[nn.Module, list[Step]]:
        model, generator = small(dropout=0.4), Generator().manual_seed(11)
        seed_all()
        history = run(
            model, steps, SOURCES[source](generator), noisy, accumulate=2, schedule=falling, folder=folder, resume=folder is not None,
            generators=[generator], held_out=[draw(50)], evaluate_every=2, watch=lambda step: step.number == stop,
        )  # fmt: skip
        return model, history

    whole, history = go(None, 8)
    go(tmp_path, 8, stop)
    random.random(), torch.rand(3)  # what happens between does not matter
    resumed, again = go(tmp_path, 8)
    assert same(whole, resumed)
    assert [step._replace(seconds=0) for step in again] == [step._replace(seconds=0) for step in history]
    finished, once_more = go(tmp_path, 8)  # there is nothing left to do
    assert same(finished, whole)
    assert once_more == again


@pytest.mark.parametrize("make", [AdamW, LAMB, Adafactor, torch.optim.AdamW])
def test_the_optimizer_is_resumed(tmp_path: Path, make: Callable) -> None:
    def go(folder: Path | None, stop: int | None = None) -> nn.Module:
        model = small()
        run(
            model,
            8,
            optimizer=make(model.parameters()),
            folder=folder,
            resume=folder is not None,
            watch=lambda step: step.number == stop,
        )
        return model

    whole = go(None)
    go(tmp_path, 3)
    assert same(go(tmp_path), whole)


def test_float16_is_resumed_with_its_scale(tmp_path: Path) -> None:
    def go(folder: Path | None, stop: int | None = None) -> nn.Module:
        model = small().float()
        run(
            model, 30, loss=lambda m, b: F.mse_loss(m(b[0].float()).float(), b[1].float()) * 1e4, autocast=torch.float16,
            folder=folder, resume=folder is not None, watch=lambda step: step.number == stop,
        )  # fmt: skip
        return model

    whole = go(None)
    go(tmp_path, 4)
    assert same(go(tmp_path), whole)


def tied(vocab_size: int = 11) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=vocab_size, n_positions=8, n_embd=12, n_layer=1, n_head=3, eos_token_id=None)
    )


def language_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return model(batch[0], labels=batch[0]).loss


def test_tied_weights_are_saved_once_and_stay_tied(tmp_path: Path) -> None:
    def go(model: nn.Module, steps: int) -> None:
        run(model, steps, lambda i: masked_batch(i, 3, 1.0), language_loss, folder=tmp_path, resume=True)

    go(tied(), 3)
    stored = load_file(tmp_path / "step-3" / "model.safetensors")
    assert len(stored) == len(list(tied().parameters()))
    resumed = tied()
    go(resumed, 6)
    assert resumed.lm_head.weight is resumed.transformer.wte.weight
    whole = tied()
    run(whole, 6, lambda i: masked_batch(i, 3, 1.0), language_loss)
    assert same(whole, resumed)


def test_checkpoints_appear_whole_and_the_last_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()
    seen = []
    run(
        model,
        7,
        folder=tmp_path / "new" / "run",
        save_every=2,
        watch=lambda step: seen.append([path.name for path in (tmp_path / "new" / "run").glob("*")]),
    )
    assert seen == [[], ["step-2"], ["step-2"], ["step-4"], ["step-4"], ["step-6"], ["step-7"]]
    folder = tmp_path / "new" / "run"

    def fail(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail)  # the weights are written by then
    with pytest.raises(OSError, match="no space"):
        run(small(), 9, folder=folder, save_every=2, resume=True)
    monkeypatch.undo()
    assert [path.name for path in module.checkpoints(folder)] == ["step-7"]
    resumed, whole = small(), small()
    run(resumed, 9, folder=folder, resume=True)
    run(whole, 9)
    assert same(resumed, whole)
    assert [path.name for path in folder.glob("*")] == ["step-9"]


# ---- several processes -----------------------------------------------------------------------------------------------
SCRIPT = """
import sys
import torch
import torch.nn.functional as F
from torch import Generator, nn
from lecturekit.optim import AdamW
from lecturekit.train import distributed, processes, train

torch.set_num_threads(1)

def draw(number):
    # Seven rows, so that shares are unequal, and unequal numbers of targets in them.
    generator = Generator().manual_seed(number)
    ids = torch.randint(11, (7, 5), generator=generator)
    return {"ids": ids, "labels": ids.masked_fill(torch.rand(ids.shape, generator=generator) > 0.4, -100)}

def loss(model, batch):
    logits = model[1](model[0](batch["ids"]))
    return F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten()), (batch["labels"] != -100).sum()

with distributed() as device:
    rank, world = processes()
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Embedding(11, 6), nn.Linear(6, 11), nn.Linear(2, 2)]).to(device)  # the last one is not used
    if rank:
        nn.init.zeros_(model[0].weight)  # the first process's weights are everyone's
    history = train(
        model, draw, loss, AdamW(model.parameters(), lr=0.05), int(sys.argv[2]), accumulate=2, clip=0.3,
        held_out=[draw(1000 + i) for i in range(3)], evaluate_every=2, folder=sys.argv[1], save_every=3, resume=True,
    )
    means = torch.tensor([[step.loss, step.norm, step.held_out or 0.0] for step in history])
    everyones = [means]
    if world > 1:
        everyones = [torch.empty_like(means) for _ in range(world)]
        torch.distributed.all_gather(everyones, means)
    assert all(torch.equal(others, means) for others in everyones)
    if rank == 0:
        print("processes", world)
"""


def torchrun(script: Path, folder: Path, steps: int) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        str(script),
        str(folder),
        str(steps),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "processes 2\n"  # the first one alone prints


@pytest.mark.full
def test_two_processes_take_the_steps_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    torchrun(script, tmp_path / "two", 4)
    torchrun(script, tmp_path / "two", 6)  # resumed
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "one"), "6"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    runpy.run_path(str(script))
    one, two = (load_file(tmp_path / name / "step-6" / "model.safetensors") for name in ("one", "two"))
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=0, atol=1e-6)
    for expected, step in zip(*(history_of(tmp_path / name / "step-6") for name in ("one", "two")), strict=True):
        assert step._replace(seconds=0, held_out=0) == pytest.approx(expected._replace(seconds=0, held_out=0), abs=1e-6)
        assert (step.held_out or 0) == pytest.approx(expected.held_out or 0, abs=1e-6)


def history_of(path: Path) -> list[Step]:
    return [Step(*step) for step in module.read_checkpoint(path)[1]["run"]["history"]]


def test_processes_share_rows_and_have_their_own_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = {"ids": torch.arange(10).view(5, 2), "labels": torch.arange(5)}
    shares, noise = [], []
    for rank in range(2):
        monkeypatch.setattr(module, "processes", lambda rank=rank: (rank, 2))
        shares.append(module.share_of(batch, torch.device("cpu"))["labels"].tolist())
        torch.manual_seed(3)
        with module.own_chance(torch.device("cpu")):
            noise.append(torch.rand(()).item())
        noise.append(torch.rand(()).item())
    assert shares == [[0, 1, 2], [3, 4]]
    assert noise[0] != noise[2]
    assert noise[1] == noise[3]  # the next batch is everyone's
    for wrong in ({"ids": torch.zeros(1, 2)}, {"ids": torch.zeros(4, 2), "mask": torch.zeros(2, 2)}, torch.tensor(1)):
        with pytest.raises(ValueError, match="rows: expected one number, at least 2"):
            module.share_of(wrong, torch.device("cpu"))


# ---- the command -----------------------------------------------------------------------------------------------------
def test_the_command_trains_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("всё то же самое\n" * 60, encoding="utf-8")
    options = [
        str(text),
        "--folder",
        str(tmp_path / "run"),
        *["--layers", "1", "--heads", "2", "--width", "16", "--context", "8", "--rate", "0.01"],
    ]
    module.main([*options, "--steps", "40"])
    first = capsys.readouterr().out
    assert float(first.split("held-out tenth: ")[1].split()[0]) < math.log(9)
    assert (tmp_path / "run" / "loss.png").stat().st_size > 1000
    module.main([*options, "--steps", "40"])
    assert capsys.readouterr().out == first
    module.main([*options, "--steps", "60"])
    assert [path.name for path in module.checkpoints(tmp_path / "run")] == ["step-60"]


# ---- bad input -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"accumulate": 0}, ValueError, "accumulate=0: expected at least 1"),
        ({"accumulate": 1.5}, TypeError, "accumulate=1.5: expected a whole number"),
        ({"steps": -1}, ValueError, "steps=-1: expected at least 1"),
        ({"steps": "9"}, TypeError, "steps='9': expected a whole number"),
        ({"clip": 0.0}, ValueError, "clip=0.0: expected more than 0, or None"),
        ({"autocast": torch.int8}, ValueError, "autocast=torch.int8: expected None, torch.bfloat16 or torch.float16"),
        ({"evaluate_every": 0, "held_out": [draw(0)]}, ValueError, "evaluate_every=0: expected at least 1"),
        ({"evaluate_every": 2}, ValueError, "evaluate_every=2 and held_out=None: expected held_out too"),
        ({"save_every": 2}, ValueError, "save_every=2 and folder=None: expected folder too"),
        ({"resume": True}, ValueError, "resume=True and folder=None: expected folder too"),
        ({"batches": torch.zeros(3, 3)}, TypeError, "batches is Tensor: expected a function"),
        ({"batches": 7}, TypeError, "batches is int: expected a function"),
        ({"batches": []}, ValueError, "batches is empty: expected at least one batch"),
        ({"batches": iter([draw(0), draw(1)])}, ValueError, "no more batches after 2: expected a function"),
        ({"batches": lambda i: ("text", draw(i))}, TypeError, "a batch holds str: expected tensors"),
        ({"batches": lambda i: ()}, ValueError, "a batch without a tensor"),
        ({"held_out": []}, ValueError, "held-out batches without a target"),
        ({"loss": lambda m, b: m(b[0])}, TypeError, r"loss gave a tensor of shape \[6, 1\]: expected a scalar tensor"),
        ({"loss": lambda m, b: 0.5}, TypeError, "loss gave float: expected a scalar tensor"),
        ({"loss": lambda m, b: (squared(m, b), 0)}, ValueError, "a step without a target: expected at least one"),
        ({"optimizer": AdamW(small().parameters())}, ValueError, "the optimizer has 4 parameters that are not the model's"),
        ({"loss": lambda m, b: squared(m, b) * math.nan}, ValueError, "step 1: loss nan, norm nan: expected finite numbers; no checkpoint was made"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(changes: dict[str, Any], kind: type[Exception], message: str) -> None:
    model = small()
    with pytest.raises(kind, match=message):
        run(model, **{"steps": 3, **changes})
    if "iter" not in message and "held-out" not in message and "no more" not in message:
        assert same(model, small())


def test_a_schedule_needs_a_rate() -> None:
    model = small()
    with pytest.raises(ValueError, match="lr=None and a schedule"):
        run(model, optimizer=Adafactor(model.parameters()), schedule=falling)
    run(model, optimizer=Adafactor(model.parameters()))


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_stops_before_it_spoils_and_names_the_last_good_checkpoint(
    tmp_path: Path, what: str
) -> None:
    model, whole = small(), small()
    calls = []

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        calls.append(1)
        if len(calls) < 6:
            return squared(model, batch)
        # The root of zero has a value and no gradient.
        return squared(model, batch) * math.inf if what == "loss" else (model(batch[0]) * 0).sqrt().mean()

    with pytest.raises(
        ValueError, match=r"step 6: loss .* norm .*: expected finite numbers; the last good checkpoint is .*step-4$"
    ):
        run(model, 9, loss=loss, folder=tmp_path, save_every=2)
    run(whole, 5)
    assert same(model, whole)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    model = small()
    with torch.no_grad():
        model[0].bias[1] = math.nan
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    with pytest.raises(ValueError, match=r"step 0: 0.bias is not finite"):
        save_checkpoint(tmp_path, model, adamw(model), scaler, [], {"history": []})
    assert not module.checkpoints(tmp_path)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    run(small(), 3, folder=tmp_path)
    return tmp_path


def test_a_folder_with_a_checkpoint_is_not_written_over(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"step-3 is there already: expected resume=True"):
        run(small(), 5, folder=saved)


def refused(
    folder: Path, match: str, model: nn.Module | None = None, kind: type[Exception] = ValueError, **settings: Any
) -> None:
    """Nothing is loaded by half: weights, optimizer and random numbers stay as they are."""
    model = model or small()
    optimizer = settings.pop("optimizer", None) or adamw(model)
    before, state = weights(model), torch.get_rng_state()
    with pytest.raises(kind, match=match):
        run(model, 5, optimizer=optimizer, folder=folder, resume=True, **settings)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))
    assert not optimizer.state
    assert torch.equal(state, torch.get_rng_state())


def test_checkpoints_of_others_are_refused(saved: Path) -> None:
    wider = nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Dropout(0.0), nn.Linear(9, 1)).double()
    refused(saved, r"of another model: 0.weight is torch.float64 \[8, 3\], expected torch.float64 \[9, 3\]", wider)
    refused(saved, r"of another model: 0.weight is torch.float64 \[8, 3\], expected torch.float32", small().float())
    shorter = nn.Sequential(nn.Linear(3, 8)).double()
    refused(
        saved,
        r"of another model: it lacks 0 tensors of this one \[\], and has 2 others \['3.bias', '3.weight'\]",
        shorter,
    )
    model = small()
    refused(saved, "made with AdamW: expected LAMB", model, optimizer=LAMB(model.parameters()))
    refused(saved, "parameter group", model, optimizer=AdamW(model.parameters()))  # one group, not two
    refused(saved, "has 0 generators: expected 1", generators=[Generator()])


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(self.path),))


def test_damaged_checkpoints_are_refused(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    good = saved / "step-3"

    def damaged(name: str, change: Callable[[bytes], bytes]) -> Path:
        folder = tmp_path_factory.mktemp("damaged")
        shutil.copytree(good, folder / "step-3")
        file = folder / "step-3" / name
        file.write_bytes(change(file.read_bytes()))
        return folder

    for name in ("model.safetensors", "training.pt"):
        refused(damaged(name, lambda data: data[: len(data) // 2]), f"{name} is damaged")
        refused(damaged(name, lambda data: b""), f"{name} is damaged")
        refused(damaged(name, lambda data: b"not at all"), f"{name} is damaged")
    refused(
        damaged("model.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        "model.safetensors is damaged, or not of",
    )
    folder = damaged("training.pt", lambda data: data)
    (folder / "step-3" / "training.pt").unlink()
    refused(folder, r"training.pt: no such file", kind=FileNotFoundError)


def test_a_pickle_is_never_run(saved: Path, tmp_path: Path) -> None:
    evil = Evil()
    evil.path = str(tmp_path / "was here")
    for name in ("training.pt", "model.safetensors"):
        for write in (lambda file: file.write_bytes(pickle.dumps(evil)), lambda file: torch.save({"run": evil}, file)):
            file = saved / "step-3" / name
            before = file.read_bytes()
            write(file)
            refused(saved, f"{name} is damaged, or")
            file.write_bytes(before)
    assert not Path(evil.path).exists()
    run(small(), 5, folder=saved, resume=True)
