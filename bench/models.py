"""How fast the models are beside Hugging Face's, and how much memory they take, each pair measured in the same run.

    python bench/models.py [--quick] [--rounds 7] [--threads 2] [--plot models.png]

Ours and the peer take turns; a ratio is the peer's seconds by ours in one turn, so that 1.2 x is faster than the peer,
and the table shows the median of the turns with the lowest and the highest. Both have the same weights, ids, threads
and cache; the peer attends by torch's fused kernel (sdpa), the fastest that it has. Before the clock starts the two
must agree: the same loss, the same hidden states, the same ids. Memory is the most that tensors beside the weights
hold at a time. `--quick` makes everything tiny: that it runs, not how fast.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# `tokenizers.py` beside this file has the name of a library that transformers needs.
sys.path = [str(ROOT), *(path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent)]
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its profiler writes a line whenever it starts or stops

import torch  # noqa: E402
import transformers  # noqa: E402
from torch import nn  # noqa: E402

from lecturekit.generation import generate  # noqa: E402
from lecturekit.models.bert import BertModel  # noqa: E402
from lecturekit.models.gpt import GPT2LMHeadModel  # noqa: E402
from lecturekit.models.t5 import T5ForConditionalGeneration  # noqa: E402

Pair = tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor]]


def both(ours: type, peer: type, config: transformers.PretrainedConfig) -> tuple[nn.Module, nn.Module]:
    """The two with the same random weights, in eval mode."""
    torch.manual_seed(0)
    theirs = peer._from_config(config, attn_implementation="sdpa").eval()
    return ours.from_huggingface(theirs), theirs


def training(quick: bool) -> Pair:
    """Loss, gradients and an AdamW step, without dropout."""
    width, batch, length = (32, 2, 8) if quick else (256, 8, 128)
    config = transformers.GPT2Config(vocab_size=1000, n_positions=length, n_embd=width, n_layer=4, n_head=4)
    config.update({"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0})
    ids = torch.randint(1000, (batch, length))

    def stepper(model: nn.Module) -> Callable[[], torch.Tensor]:
        optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-4)

        def step() -> torch.Tensor:
            loss = model(ids, labels=ids).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach()

        return step

    ours, theirs = both(GPT2LMHeadModel, transformers.GPT2LMHeadModel, config)
    return stepper(ours), stepper(theirs)


def reading(quick: bool) -> Pair:
    """BERT-base over a batch of padded texts."""
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "intermediate_size": 96} if quick else {}
    ours, theirs = both(BertModel, transformers.BertModel, transformers.BertConfig(**sizes))
    ids = torch.randint(1, 30_000, (4, 16 if quick else 128))
    mask = (torch.arange(ids.size(1)) < torch.tensor([[1.0], [0.9], [0.7], [0.5]]) * ids.size(1)).long()

    def reader(model: nn.Module) -> Callable[[], torch.Tensor]:
        @torch.no_grad()
        def read() -> torch.Tensor:
            return model(ids, attention_mask=mask).last_hidden_state[mask == 1]

        return read

    return reader(ours), reader(theirs)


def writing(model: str, batch: int, beams: int) -> Callable[[bool], Pair]:
    """Cached generation, greedy or by beam search."""

    def pair(quick: bool) -> Pair:
        if model == "GPT-2":
            config = transformers.GPT2Config(**({"n_embd": 48, "n_layer": 2} if quick else {}))
            ours, theirs = both(GPT2LMHeadModel, transformers.GPT2LMHeadModel, config)
        else:
            sizes = {"num_layers": 2, "d_model": 48, "d_ff": 96} if quick else {}
            config = transformers.T5Config(**sizes, decoder_start_token_id=0)
            ours, theirs = both(T5ForConditionalGeneration, transformers.T5ForConditionalGeneration, config)
        ids = torch.randint(2, config.vocab_size, (batch, 32))
        new, everything = 4 if quick else 32, torch.ones_like(ids)
        settings = {"max_new_tokens": new, "num_beams": beams, "do_sample": False, "use_cache": True}
        settings |= {"eos_token_id": None, "pad_token_id": 0, "attention_mask": everything}
        return (
            lambda: generate(ours, ids, new, beams, eos_token_id=(), attention_mask=everything),
            lambda: theirs.generate(ids, **settings),
        )

    return pair


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[bool], Pair]
    target: float
    repeats: int = 1


CASES = (
    Case("GPT, 4 layers, training step", training, 1.0, 3),
    Case("BERT base, forward, padded batch of 4", reading, 1.0, 2),
    Case("GPT-2 small, greedy, 1 text", writing("GPT-2", 1, 1), 1.2),
    Case("GPT-2 small, greedy, 4 texts", writing("GPT-2", 4, 1), 1.2),
    Case("GPT-2 small, 4 beams", writing("GPT-2", 1, 4), 1.2),
    Case("T5 small, greedy, 1 text", writing("T5", 1, 1), 1.3),
    Case("T5 small, greedy, 4 texts", writing("T5", 4, 1), 1.3),
    Case("T5 small, 4 beams", writing("T5", 1, 4), 1.3),
)


def in_turns(pair: Pair, rounds: int, repeats: int) -> list[tuple[float, float]]:
    """Seconds of ours and the peer in each round, the best of `repeats`; who goes first changes."""
    torch.testing.assert_close(pair[0](), pair[1](), rtol=1e-3, atol=1e-4)  # exact for ids
    found = []
    for turn in range(rounds):
        seconds = [float("inf")] * 2
        for _ in range(repeats):
            for side in (0, 1) if turn % 2 else (1, 0):
                start = time.perf_counter()
                pair[side]()
                seconds[side] = min(seconds[side], time.perf_counter() - start)
        found.append((seconds[0], seconds[1]))
    return found


def peak(run: Callable[[], torch.Tensor]) -> float:
    """The most that the tensors of one run hold at a time, in MB, beside the weights: counted by torch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    changes = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = accumulate(event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns()))
    return max(held, default=0) / 1e6


def plot(rows: list[tuple[Case, list[float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.6 * len(rows) + 1), layout="constrained")
    for place, (case, ratios) in enumerate(reversed(rows)):
        middle = statistics.median(ratios)
        axes.barh(place, middle, color="tab:blue" if middle >= case.target else "tab:orange")
        axes.plot([min(ratios), max(ratios)], [place, place], color="black")
        axes.plot([case.target] * 2, [place - 0.4, place + 0.4], color="black", linestyle=":")
    axes.set_yticks(range(len(rows)), [case.name for case, _ in reversed(rows)])
    axes.set_xlabel("times as fast as Hugging Face's (line: all turns, dots: what is asked for)")
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, two turns: does it run?")
    parser.add_argument("--plot", type=Path, default=Path("models.png"), help="where to draw the ratios")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(asked.threads)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, transformers {transformers.__version__}")
    ratios = f"{'ratio':>8} {'lowest ... highest':>19}{'asked':>7}"
    print(f"{'':<40}{'ours, s':>9}{'peer, s':>9}{ratios}{'ours, MB':>10}{'peer':>8}")
    rows = []
    for case in CASES:
        pair = case.make(asked.quick)
        seconds = in_turns(pair, 2 if asked.quick else asked.rounds, case.repeats)
        ratios = [peer / ours for ours, peer in seconds]
        best = [min(side) for side in zip(*seconds, strict=True)]
        megabytes = [peak(side) for side in pair]
        print(
            f"{case.name:<40}{best[0]:>9.3f}{best[1]:>9.3f}{statistics.median(ratios):>6.2f} x"
            f"{min(ratios):>10.2f} ... {max(ratios):<5.2f}{case.target:>7.1f}{megabytes[0]:>10.1f}{megabytes[1]:>8.1f}",
            flush=True,
        )
        rows.append((case, ratios))
    plot(rows, asked.plot)


if __name__ == "__main__":
    main()
