"""One plain loop: draw a batch, compute its loss and gradient, clip, step; look at held-out text; save; go on.

    history = train(model, batches, loss, optimizer, steps=2000, schedule=lambda step: cosine_schedule(step, 100, 2000))
    plot_history(history)

`training` is the same loop for those who want to watch: a generator that hands over the history after each step.
Whoever stops reading stops the training, and the model keeps what it has learnt.

    batches      a function of a batch's number 0, 1, ..., or an iterable, gone through again and again. A batch is a
                 tensor, or a tuple, list or dictionary of them, the rows along the first axis of each
    loss         loss(model, batch) -> the mean over the batch's targets, or (that mean, the number of the targets).
                 Without a number every row counts alike. It decides how batches that are added up are weighed: the
                 mean is over all targets of a step, as in one large batch, however they are spread
    optimizer    one of `lecturekit.optim` or of torch; `schedule(step)` is a factor for its learning rates, steps
                 counted from 0, as the functions in `lecturekit.optim` give it

A run that is saved and resumed takes the same steps bit by bit (on the CPU) as one that was never stopped: weights,
the optimizer's state, the place in the data and the random numbers of torch, Python and numpy are saved. What else
draws batches, a torch.Generator of your own, goes into `generators`, unless each batch has its own from its number.

On several processes, `torchrun --nproc_per_node=2 script.py`, wrap all in `with distributed() as device:`. Seed all
alike. Each draws every batch, keeps its share of the rows, and gradients are summed, so that N processes take the
steps of one (Li et al., 2020, https://arxiv.org/abs/2006.15704, section 2.2). The first one alone prints and writes.

The shape of the loop is nanoGPT's (Karpathy), accumulation, autocast and clipping in the order that torch's notes on
automatic mixed precision give. Left out: weights too large for one device (FSDP), communication during the backward
pass (DDP), buffers that differ between processes, stopping early.

`python -m lecturekit.train text.txt` trains a GPT on the characters of a text.
"""

import argparse
import math
import os
import pickle
import random
import shutil
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Generator, Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from lecturekit.data import checksum

Batch = Any  # a tensor, or a tuple, list or dictionary of batches
Loss = Callable[[nn.Module, Batch], Tensor | tuple[Tensor, int | Tensor]]


class Step(NamedTuple):
    """What a step was like, in plain numbers; `number` counts from 1."""

    number: int
    loss: float  # the mean over the step's targets, before the step
    rate: float | None  # the learning rate of the first group
    norm: float  # of the gradient, before it was clipped
    tokens: int  # the size of the first tensor of each batch, [B, T], summed
    seconds: float
    held_out: float | None  # the loss on held-out batches after the step, where it was computed


# ---- batches ---------------------------------------------------------------------------------------------------------
def each_tensor(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with each of its tensors changed. TypeError if there is anything else in it but None."""
    if batch is None:
        return None
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {name: each_tensor(part, change) for name, part in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [each_tensor(part, change) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    raise TypeError(f"a batch holds {type(batch).__name__}: expected tensors, or tuples, lists, dictionaries of them")


def tensors(batch: Batch) -> list[Tensor]:
    """The batch's tensors. ValueError if there are none; TypeError as in `each_tensor`."""
    found: list[Tensor] = []
    each_tensor(batch, lambda tensor: found.append(tensor) or tensor)
    if not found:
        raise ValueError("a batch without a tensor: expected at least one")
    return found


def share_of(batch: Batch, device: torch.device) -> Batch:
    """The rows of the batch that are this process's part, on `device`.

    ValueError, with several processes, if there are fewer rows than processes or tensors differ in their rows.
    """
    rank, world = processes()
    if world > 1:
        rows = {len(tensor) if tensor.dim() else 0 for tensor in tensors(batch)}
        if len(rows) > 1 or min(rows) < world:
            raise ValueError(f"a batch of {sorted(rows)} rows: expected one number, at least {world}, the processes")
    return each_tensor(batch, lambda tensor: (tensor.tensor_split(world)[rank] if world > 1 else tensor).to(device))


def draw_batches(batches: Callable | Iterable, position: dict[str, Any], generators: Sequence[Generator]) -> Iterator:
    """The batches from `position` on without end; it is kept up to date, and is what a checkpoint needs.

    ValueError if there is none, or if an iterator ends, which can't be gone through again.
    """
    if callable(batches):
        for number in count(position["taken"]):
            position["taken"] = number + 1
            yield batches(number)
    while True:
        # The order of a pass may be drawn when it begins (DataLoader): draw it anew, and skip what is done.
        before = rng_state(generators)
        position["pass_rng"] = position["pass_rng"] or before
        set_rng_state(position["pass_rng"], generators)
        iterator = iter(batches)
        if position["in_pass"]:
            for _ in islice(iterator, position["in_pass"]):
                pass
            set_rng_state(before, generators)
        for batch in iterator:
            position["taken"] += 1
            position["in_pass"] += 1
            yield batch
        if not position["in_pass"]:
            taken = position["taken"]
            raise ValueError(
                f"no more batches after {taken}: expected a function of a batch's number, or an iterable that can be "
                "gone through again, such as a list"
                if taken
                else "batches is empty: expected at least one batch"
            )
        position["in_pass"], position["pass_rng"] = 0, None


# ---- chance ----------------------------------------------------------------------------------------------------------
def rng_state(generators: Sequence[Generator] = ()) -> dict[str, Any]:
    """The states of the random numbers of torch, Python, numpy and `generators`, in tensors and plain data."""
    name, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), *rest),
        "generators": [generator.get_state() for generator in generators],
    }


def set_rng_state(state: Mapping[str, Any], generators: Sequence[Generator] = ()) -> None:
    """Go back to a `rng_state`. ValueError if it was made with another number of generators."""
    if len(generators) != len(state["generators"]):
        raise ValueError(f"{len(generators)} generators: expected {len(state['generators'])}, as when it was saved")
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    for generator, saved in zip(generators, state["generators"], strict=True):
        generator.set_state(saved)


@contextmanager
def own_chance(device: torch.device) -> Iterator[None]:
    """Dropout of its own for each of several processes, whose random numbers are else the same."""
    rank, world = processes()
    if world == 1:
        yield
        return
    seed = int(torch.randint(2**62, ()))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed + rank)
        yield


# ---- several processes -----------------------------------------------------------------------------------------------
def processes() -> tuple[int, int]:
    """(the number of this process, how many there are): (0, 1) unless inside `distributed` and started by torchrun."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@contextmanager
def distributed() -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did: gives this process's device, a GPU if there are any."""
    started = dist.is_available() and dist.is_torchelastic_launched()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if started and device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not started:
        yield device
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
        dist.barrier()  # one that left early would break the others' last messages
    finally:
        dist.destroy_process_group()


def sum_over_processes(numbers: Sequence[float], device: torch.device) -> list[float]:
    """Each of the numbers, summed over the processes."""
    if processes()[1] == 1:
        return list(numbers)
    summed = torch.tensor(numbers, dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return summed.tolist()


def sum_gradients(parameters: Sequence[nn.Parameter], device: torch.device) -> None:
    """Let every process have the sum of all their gradients; one that no process has stays None."""
    used = sum_over_processes([float(parameter.grad is not None) for parameter in parameters], device)
    shared = [parameter for parameter, users in zip(parameters, used, strict=True) if users]
    for parameter in shared:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.flatten() for parameter in shared])  # one message in place of hundreds
    dist.all_reduce(flat)
    for parameter, summed in zip(shared, flat.split([parameter.numel() for parameter in shared]), strict=True):
        parameter.grad.copy_(summed.view_as(parameter))


# ---- one step --------------------------------------------------------------------------------------------------------
def loss_and_count(
    loss: Loss, model: nn.Module, batch: Batch, device: torch.device, dtype: torch.dtype | None
) -> tuple[Tensor, int]:
    """The mean loss of a batch under autocast to `dtype`, and the number of its targets, or of its rows."""
    with torch.autocast(device.type, dtype) if dtype else nullcontext():
        result = loss(model, batch)
    mean, targets = result if isinstance(result, tuple) and len(result) == 2 else (result, len(tensors(batch)[0]))
    if not isinstance(mean, Tensor) or mean.dim():
        given = f"a tensor of shape {list(mean.shape)}" if isinstance(mean, Tensor) else type(mean).__name__
        raise TypeError(f"loss gave {given}: expected a scalar tensor, or (a scalar tensor, the number of targets)")
    return mean, int(targets)


def compute_gradients(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Iterable[Batch],
    loss: Loss,
    scaler: torch.amp.GradScaler,
    dtype: torch.dtype | None,
) -> tuple[float, int]:
    """Add up the gradients of the mean loss over all targets in `batches`, of all processes: (that mean, tokens).

    Gradients are still scaled by `scaler`. ValueError if there is no target.
    """
    device = parameters[0].device
    total, targets, tokens, unit = 0.0, 0, 0, 0
    for batch in batches:
        tokens += tensors(batch)[0].numel()
        with own_chance(device):
            mean, number = loss_and_count(loss, model, share_of(batch, device), device, dtype)
            if number == 0:  # the mean over nothing is NaN
                continue
            # How many targets a step has is known when it is over: weigh by the first batch until then, as sums
            # would be too large for float16.
            unit = unit or number
            scaler.scale(mean * (number / unit)).backward()
        total, targets = total + mean.item() * number, targets + number
    total, targets = sum_over_processes([total, targets], device)
    if not targets:
        raise ValueError("a step without a target: expected at least one in its batches")
    if unit != targets:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(unit / targets)
    if processes()[1] > 1:
        sum_gradients(parameters, device)
    return total / targets, tokens


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Batch], loss: Loss, autocast: torch.dtype | None = None) -> float:
    """The mean loss over all targets in `batches`, in eval mode; the model's mode is put back.

    Several processes deal the batches out among them, and all get the mean. ValueError if there is no target.
    """
    rank, world = processes()
    device = next(model.parameters()).device
    was_training, total, targets = model.training, 0.0, 0
    model.eval()
    try:
        for number, batch in enumerate(batches):
            if number % world == rank:
                batch = each_tensor(batch, lambda tensor: tensor.to(device))
                mean, size = loss_and_count(loss, model, batch, device, autocast)
                total, targets = total + (mean.item() * size if size else 0.0), targets + size
    finally:
        model.train(was_training)
    total, targets = sum_over_processes([total, targets], device)
    if not targets:
        raise ValueError("held-out batches without a target: expected at least one, and a list if they are read twice")
    return total / targets


# ---- checkpoints -----------------------------------------------------------------------------------------------------
def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, tied ones once, under the first of their names."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        found.setdefault(id(tensor), (name, tensor))
    return {name: tensor.detach() for name, tensor in found.values()}


def checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints in a folder, the last one last."""
    found = [path for path in Path(folder).glob("step-*") if path.name.removeprefix("step-").isdecimal()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def save_checkpoint(
    folder: str | Path,
    model: nn.Module,
    optimizer: Optimizer,
    scaler: torch.amp.GradScaler,
    generators: Sequence[Generator],
    run: dict[str, Any],
) -> Path:
    """Write `folder`/step-N, which appears when it is whole, and remove earlier ones.

    model.safetensors has the weights, training.pt all else: tensors and plain data. `run` is the loop's own: history,
    place in the data, learning rates. ValueError for weights that are not finite: a checkpoint is good to go on from.
    """
    from safetensors.torch import save_file

    folder, number = Path(folder), len(run["history"])
    stored = {name: tensor.contiguous() for name, tensor in named_tensors(model).items()}
    for name, tensor in stored.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"step {number}: {name} is not finite, expected weights that are good to go on from")
    part = folder / "part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_file(stored, part / "model.safetensors")
    state = {
        "sha256": checksum(part / "model.safetensors"),
        "optimizer_class": type(optimizer).__name__,
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "rng": rng_state(generators),
        "run": {**run, "history": [tuple(step) for step in run["history"]]},
    }
    torch.save(state, part / "training.pt")
    path = part.replace(folder / f"step-{number}")
    for earlier in checkpoints(folder)[:-1]:
        shutil.rmtree(earlier)
    return path


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(weights by name, all else) of a checkpoint, on the CPU. No code in it is run.

    FileNotFoundError if a file is missing; ValueError for one that is damaged, or a pickle of anything but tensors
    and plain data.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights, rest = Path(path) / "model.safetensors", Path(path) / "training.pt"
    for file in (weights, rest):
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file, expected a checkpoint with model.safetensors, training.pt")
    if not zipfile.is_zipfile(rest):  # a bare pickle is not even opened
        raise ValueError(f"{rest} is damaged, or a pickle: expected what save_checkpoint wrote")
    try:
        stored = load_file(weights)
        state = torch.load(rest, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ValueError(f"{weights} is damaged, or not in the safetensors format: {error}") from error
    except (RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{rest} is damaged, or holds more than tensors and plain data: {reason}") from error
    if not isinstance(state, dict) or state.get("sha256") != checksum(weights):
        raise ValueError(f"{weights} is damaged, or not of {rest}: expected the checksum that is written there")
    return stored, state


def check_weights(model: nn.Module, stored: Mapping[str, Tensor], path: str | Path) -> None:
    """ValueError unless names, shapes and dtypes of the stored weights are the model's."""
    wanted = named_tensors(model)
    missing, unexpected = sorted(wanted.keys() - stored.keys()), sorted(stored.keys() - wanted.keys())
    if missing or unexpected:
        raise ValueError(
            f"{path} is of another model: it lacks {len(missing)} tensors of this one {missing[:3]}, "
            f"and has {len(unexpected)} others {unexpected[:3]}"
        )
    for name, tensor in wanted.items():
        found, expected = stored[name], tensor
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise ValueError(
                f"{path} is of another model: {name} is {found.dtype} {list(found.shape)}, "
                f"expected {expected.dtype} {list(expected.shape)}"
            )


def load_checkpoint(
    path: str | Path,
    model: nn.Module,
    optimizer: Optimizer,
    scaler: torch.amp.GradScaler,
    generators: Sequence[Generator],
) -> dict[str, Any]:
    """Put all back as it was when `save_checkpoint` wrote `path`, and return its `run`.

    ValueError, and nothing is changed, if the checkpoint is of another model or optimizer, or of another number of
    generators; errors of `read_checkpoint` too.
    """
    stored, state = read_checkpoint(path)
    check_weights(model, stored, path)
    if state["optimizer_class"] != type(optimizer).__name__:
        raise ValueError(f"{path} was made with {state['optimizer_class']}: expected {type(optimizer).__name__}")
    if len(state["rng"]["generators"]) != len(generators):
        raise ValueError(f"{path} has {len(state['rng']['generators'])} generators: expected {len(generators)}")
    optimizer.load_state_dict(state["optimizer"])  # refuses groups that do not fit
    if state["scaler"]:
        scaler.load_state_dict(state["scaler"])
    for name, tensor in named_tensors(model).items():
        tensor.copy_(stored[name])
    set_rng_state(state["rng"], generators)
    return {**state["run"], "history": [Step(*step) for step in state["run"]["history"]]}


# ---- the loop --------------------------------------------------------------------------------------------------------
def check_settings(model: nn.Module, batches: object, optimizer: Optimizer, settings: Mapping[str, Any]) -> None:
    """Refuse what can't be meant: TypeError for what is of another kind, ValueError for a value out of range."""
    if isinstance(batches, Tensor | Mapping | str) or not (callable(batches) or isinstance(batches, Iterable)):
        raise TypeError(
            f"batches is {type(batches).__name__}: expected a function of a batch's number, or a list of batches"
        )
    for name in ("steps", "accumulate", "evaluate_every", "save_every"):
        value = settings[name]
        if value is not None and not isinstance(value, int):
            raise TypeError(f"{name}={value!r}: expected a whole number")
        if value is not None and value < 1:
            raise ValueError(f"{name}={value}: expected at least 1")
    if settings["clip"] is not None and not settings["clip"] > 0:
        raise ValueError(f"clip={settings['clip']}: expected more than 0, or None")
    if settings["autocast"] not in (None, torch.bfloat16, torch.float16):
        raise ValueError(f"autocast={settings['autocast']}: expected None, torch.bfloat16 or torch.float16")
    for one, other in (("evaluate_every", "held_out"), ("save_every", "folder"), ("resume", "folder")):
        if settings[one] and settings[other] is None:
            raise ValueError(f"{one}={settings[one]} and {other}=None: expected {other} too")
    ours = {id(parameter) for parameter in model.parameters()}
    strangers = sum(id(p) not in ours for group in optimizer.param_groups for p in group["params"])
    if strangers:
        raise ValueError(f"the optimizer has {strangers} parameters that are not the model's: make it for this model")
    if settings["schedule"] and any(group["lr"] is None for group in optimizer.param_groups):
        raise ValueError("lr=None and a schedule: expected a learning rate for it to multiply")


def take_step(
    optimizer: Optimizer, parameters: Sequence[nn.Parameter], scaler: torch.amp.GradScaler, clip: float | None
) -> float:
    """Clip the gradients to the norm `clip` in all and step: the norm they had.

    A norm that is not finite is none to step by: then nothing is done but to lower the scale of float16.
    """
    scaler.unscale_(optimizer)
    norm = get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if clip is not None:
        clip_grads_with_norm_(parameters, clip, norm)
    if scaler.is_enabled() or norm.isfinite():
        scaler.step(optimizer)
    scaler.update()
    return norm.item()


def training(
    model: nn.Module,
    batches: Callable[[int], Batch] | Iterable[Batch],
    loss: Loss,
    optimizer: Optimizer,
    steps: int,
    *,
    schedule: Callable[[int], float] | None = None,
    clip: float | None = 1.0,
    accumulate: int = 1,
    autocast: torch.dtype | None = None,
    held_out: Iterable[Batch] | None = None,
    evaluate_every: int | None = None,
    folder: str | Path | None = None,
    save_every: int | None = None,
    resume: bool = False,
    generators: Sequence[Generator] = (),
) -> Iterator[list[Step]]:
    """Train for `steps` in all; after each, hand over the history, one list that grows: `history[-1]` is the step.

    A step sums the gradients of `accumulate` batches, clips them to the norm `clip` and updates. With `autocast` the
    loss is computed in bfloat16, or in float16 with its gradient scaled. `held_out` batches are evaluated after every
    `evaluate_every` steps and the last. With a `folder`, checkpoints are written after every `save_every` steps, at
    the end, and when the reader stops; `resume` goes on from the last one, or begins if there is none.

    ValueError and TypeError, when the first step is asked for, for settings that can't be meant, a folder with
    checkpoints unless `resume`, and a checkpoint that is damaged or of another model or optimizer: nothing is loaded
    by half. ValueError too for a loss or a gradient that is not finite, before the step that it would spoil.
    """
    check_settings(model, batches, optimizer, settings=locals())
    stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    parameters = [parameter for parameter in model.parameters() if id(parameter) in stepped]
    scaler = torch.amp.GradScaler(parameters[0].device.type, enabled=autocast == torch.float16)
    saved = checkpoints(folder)[-1] if folder and checkpoints(folder) else None
    if saved and not resume:
        raise ValueError(f"{saved} is there already: expected resume=True, or a folder without checkpoints")
    run = {
        "history": [],
        "position": {"taken": 0, "in_pass": 0, "pass_rng": None},
        "rates": [group["lr"] for group in optimizer.param_groups],
    }
    if saved:
        run = load_checkpoint(saved, model, optimizer, scaler, generators)
    history, rates = run["history"], run["rates"]
    first, world = processes()[0] == 0, processes()[1]
    if world > 1:
        for tensor in named_tensors(model).values():
            dist.broadcast(tensor, 0)
    drawn = draw_batches(batches, run["position"], generators)
    was_training = model.training
    model.train()
    try:
        if saved and len(history) >= steps:
            yield history  # nothing is left to do, but there is something to show
        for number in range(len(history) + 1, steps + 1):
            start = time.perf_counter()
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * schedule(number - 1) if schedule else rate
            optimizer.zero_grad()
            mean, tokens = compute_gradients(model, parameters, islice(drawn, accumulate), loss, scaler, autocast)
            norm = take_step(optimizer, parameters, scaler, clip) if math.isfinite(mean) else math.nan
            if not (math.isfinite(norm) or (math.isfinite(mean) and scaler.is_enabled())):
                good = f"the last good checkpoint is {saved}" if saved else "no checkpoint was made"
                raise ValueError(f"step {number}: loss {mean}, norm {norm}: expected finite numbers; {good}")
            seconds = time.perf_counter() - start
            of_others = None
            if held_out is not None and (number == steps or (evaluate_every and number % evaluate_every == 0)):
                chance = rng_state(generators)
                of_others = evaluate(model, held_out, loss, autocast)
                set_rng_state(chance, generators)  # looking more often changes nothing
            rate = optimizer.param_groups[0]["lr"]
            history.append(Step(number, mean, rate, norm, tokens, seconds, of_others))
            if folder and first and (number == steps or (save_every and number % save_every == 0)):
                saved = save_checkpoint(folder, model, optimizer, scaler, generators, run)
            yield history
    except GeneratorExit:
        if folder and first and history and saved != Path(folder) / f"step-{len(history)}":
            save_checkpoint(folder, model, optimizer, scaler, generators, run)
        raise
    finally:
        model.train(was_training)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def train(
    model: nn.Module,
    batches: Callable[[int], Batch] | Iterable[Batch],
    loss: Loss,
    optimizer: Optimizer,
    steps: int,
    *,
    progress: bool = True,
    watch: Callable[[Step], bool | None] | None = None,
    **settings: Any,
) -> list[Step]:
    """`training` to its end, with a progress bar: the history, also of the steps before a resumption.

    `watch` is called after each step, and stops the training if it returns True. `settings` and errors are those of
    `training`.
    """
    from tqdm.auto import tqdm  # in a notebook it brings ipywidgets along

    history: list[Step] = []
    run = training(model, batches, loss, optimizer, steps, **settings)
    with tqdm(total=steps, unit="step", disable=not progress or processes()[0] > 0) as bar:
        for history in run:
            recent = history[-20:]
            speed = sum(step.tokens for step in recent) / sum(step.seconds for step in recent)
            shown = {"loss": f"{recent[-1].loss:.3f}", "tokens/s": f"{speed:,.0f}"}
            seen = [step.held_out for step in history[-1:] if step.held_out is not None]
            if seen:
                bar.set_description(f"held out {seen[0]:.3f}", refresh=False)
            bar.set_postfix(shown, refresh=False)
            bar.update(len(history) - bar.n)
            if watch and watch(history[-1]):
                break
    run.close()
    return history


def plot_history(history: Sequence[Step]) -> Any:
    """The loss curve, and that of the held-out batches: a matplotlib Figure. ValueError if there is no step."""
    import matplotlib.pyplot as plt

    if not history:
        raise ValueError("the history is empty: expected at least one step")
    figure, axes = plt.subplots(layout="constrained")
    axes.plot([step.number for step in history], [step.loss for step in history], linewidth=0.8, label="training")
    seen = [step for step in history if step.held_out is not None]
    if seen:
        axes.plot([step.number for step in seen], [step.held_out for step in seen], marker="o", label="held out")
    axes.set(xlabel="step", ylabel="loss, nats a target")
    axes.legend()
    plt.close(figure)  # a notebook shows what is returned, and would show it twice
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a GPT on the characters of a text, the last tenth of them held out, and let it write a few lines."""
    from lecturekit.data import read_text
    from lecturekit.generation import generate
    from lecturekit.layers import token_loss
    from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel
    from lecturekit.objectives import consecutive_blocks, random_blocks
    from lecturekit.optim import AdamW, cosine_schedule, parameter_groups

    parser = argparse.ArgumentParser(
        "python -m lecturekit.train", description=main.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("text", help="a file in UTF-8")
    parser.add_argument("--folder", help="for checkpoints and the loss curve; a run that is there is gone on with")
    sizes = {"steps": 2000, "layers": 4, "heads": 4, "width": 128, "context": 64, "batch": 12, "rate": 1e-3, "seed": 0}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=" ")
    options = parser.parse_args(arguments)

    text = read_text(options.text)
    characters = sorted(set(text))
    number = {character: index for index, character in enumerate(characters)}
    ids = torch.tensor([number[character] for character in text])
    cut = len(ids) * 9 // 10

    def draw(number: int) -> Tensor:
        # One character more than the model reads: each is asked for the next.
        chance = Generator().manual_seed(options.seed + number)
        return random_blocks(ids[:cut], options.context + 1, options.batch, chance)

    def loss(model: nn.Module, block: Tensor) -> Tensor:
        return token_loss(model(block[:, :-1]).logits, block[:, 1:])

    with distributed() as device:
        torch.manual_seed(options.seed)
        config = GPT2Config(
            vocab_size=len(characters),
            n_positions=options.context,
            n_embd=options.width,
            n_layer=options.layers,
            n_head=options.heads,
            eos_token_id=None,
            **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        )
        model = GPT2LMHeadModel(config).to(device)
        history = train(
            model,
            draw,
            loss,
            AdamW(parameter_groups(model, 0.1), lr=options.rate, betas=(0.9, 0.99)),
            options.steps,
            schedule=lambda step: cosine_schedule(step, options.steps // 20, options.steps, 0.1),
            held_out=consecutive_blocks(ids[cut:], options.context + 1).split(64),
            evaluate_every=250,
            folder=options.folder,
            save_every=250,
            resume=options.folder is not None,
        )
        if processes()[0] == 0:
            print(f"loss on the held-out tenth: {history[-1].held_out:.3f} nats a character")
            if options.folder:
                plot_history(history).savefig(Path(options.folder) / "loss.png")
            start = ids[:1].expand(3, 1).to(device)
            for row in generate(model.eval(), start, options.context - 1, do_sample=True, seed=options.seed):
                print("...", "".join(characters[index] for index in row))


if __name__ == "__main__":
    main()
