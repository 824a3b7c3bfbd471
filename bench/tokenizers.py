"""How fast the tokenizers are beside their peers, each pair measured in the same run.

    python bench/tokenizers.py

Seconds are the best of three runs in which ours and the peer take turns; a ratio is the peer's seconds by ours, so that
2.0 x is twice as fast as the peer. The Rust library uses all cores, as it does by itself. The textbook trainer counts
the pairs of all unique words anew for each merge; it makes 500 merges, and its time for all is extrapolated from these.
"""

import importlib.util
import pydoc_data.topics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# This file has a peer's name: the folder it lies in must not be where that peer is looked for.
sys.path = [str(ROOT), *(path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent)]

from tokenizers import Tokenizer as RustTokenizer  # noqa: E402
from tokenizers import models, pre_tokenizers, trainers  # noqa: E402

from lecturekit.tokenizers import BPE, ByteLevelBPE, Tokenizer, Unigram, WordPiece  # noqa: E402
from lecturekit.tokenizers.bpe import train_bpe  # noqa: E402
from lecturekit.tokenizers.byte_level import PATTERN, split_words  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
VOCAB_SIZE = 10_000
SIZE = 5_000_000  # bytes of text to train on
TEXTBOOK_MERGES = 500
END = "<|endoftext|>"

# The peak of the process itself: `getrusage` would begin with the size of the process that starts it.
MEMORY = """
import re, sys
from pathlib import Path
from lecturekit.tokenizers import ByteLevelBPE
ByteLevelBPE.train([Path(sys.argv[1])], 10_000)
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def corpus(*names: str) -> list[str]:
    """Lines of text, `SIZE` bytes in all; the text begins anew where it is too short."""
    if DATA.exists():
        text = "".join((DATA / name).read_text(encoding="utf-8") for name in names)
    else:
        text = "".join(pydoc_data.topics.topics.values())
    data = text.encode()
    data = data * (SIZE // len(data) + 1)
    return data[:SIZE].decode("utf-8", errors="ignore").splitlines(keepends=True)


def in_turns(ours: Callable[[], object], peer: Callable[[], object], rounds: int = 3) -> tuple[float, float]:
    """The best seconds of each."""
    seconds: dict[Callable, list[float]] = {ours: [], peer: []}
    for _ in range(rounds):
        for call, found in seconds.items():
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
    return min(seconds[ours]), min(seconds[peer])


def row(what: str, ours: float, peer: float, note: str = "") -> None:
    print(f"{what:<44} {ours:>9.2f} {peer:>9.2f} {peer / ours:>8.1f} x  {note}", flush=True)


def rust_trained(lines: list[str]) -> RustTokenizer:
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    rust.train_from_iterator(lines, trainer)
    return rust


def fresh(tokenizer: Tokenizer) -> Tokenizer:
    """Ours with nothing remembered."""
    for cache in (tokenizer._words, tokenizer._first_chunks, tokenizer._next_chunks):
        cache.clear()
    return tokenizer


def byte_level(language: str, lines: list[str]) -> ByteLevelBPE:
    ours, peer = in_turns(lambda: ByteLevelBPE.train(lines, VOCAB_SIZE, [END]), lambda: rust_trained(lines))
    row(f"byte-level BPE, training, {language}", ours, peer, "Rust library")
    tokenizer = ByteLevelBPE.train(lines, VOCAB_SIZE, [END])
    twin = tokenizer.to_huggingface()
    ours, peer = in_turns(
        lambda: fresh(tokenizer).encode_batch(lines), lambda: tokenizer.to_huggingface().encode_batch(lines)
    )
    row(f"byte-level BPE, encoding, {language}", ours, peer, "Rust library's encode_batch, both without memory")
    ours, peer = in_turns(lambda: tokenizer.encode_batch(lines), lambda: twin.encode_batch(lines))
    row(f"byte-level BPE, encoding, {language}", ours, peer, "the same, words seen before")
    return tokenizer


def against_tiktoken(tokenizer: ByteLevelBPE, lines: list[str]) -> None:
    if importlib.util.find_spec("tiktoken") is None:
        print("tiktoken is not installed: not measured")
        return
    import tiktoken

    ranks = {spelled: tokenizer.vocab[token] for token, spelled in tokenizer._spelled.items() if token != END}
    peer = tiktoken.Encoding("ours", pat_str=PATTERN.pattern, mergeable_ranks=ranks, special_tokens={END: 0})
    assert peer.encode_ordinary_batch(lines[:999]) == tokenizer.encode_batch(lines[:999])
    ours, theirs = in_turns(
        lambda: fresh(tokenizer).encode_batch(lines), lambda: peer.encode_ordinary_batch(lines, num_threads=1)
    )
    row("byte-level BPE, encoding", ours, theirs, "tiktoken, one thread")


def against_the_textbook(lines: list[str]) -> None:
    words = Counter(word for line in lines for word in split_words(line))
    spelled = {word.encode().decode("latin-1"): count for word, count in words.items()}
    start = time.perf_counter()
    train_bpe(spelled, TEXTBOOK_MERGES)
    merges = VOCAB_SIZE - 257
    textbook = (time.perf_counter() - start) / TEXTBOOK_MERGES * merges
    start = time.perf_counter()
    ByteLevelBPE.train(lines, VOCAB_SIZE, [END])
    ours = time.perf_counter() - start
    row("byte-level BPE, training", ours, textbook, f"textbook, {merges} merges extrapolated from {TEXTBOOK_MERGES}")


def others(lines: list[str]) -> None:
    for kind, options in ((BPE, {}), (WordPiece, {"min_frequency": 10}), (Unigram, {})):
        tokenizer = kind.train(lines[: len(lines) // 5], 8000, **options)
        ours, peer = in_turns(
            lambda tokenizer=tokenizer: fresh(tokenizer).encode_batch(lines),
            lambda tokenizer=tokenizer: tokenizer.to_huggingface().encode_batch(lines, add_special_tokens=False),
        )
        row(f"{kind.__name__}, encoding", ours, peer, "Rust library's encode_batch, both without memory")


def memory(lines: list[str]) -> None:
    if not Path("/proc/self/status").exists():
        print("this system does not tell a process's peak of memory: not measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.txt"
        with open(path, "w", encoding="utf-8") as file:
            while file.tell() < 100_000_000:
                file.writelines(lines)
        start = time.perf_counter()
        command = [sys.executable, "-c", MEMORY, str(path)]
        result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        seconds = time.perf_counter() - start
    print(f"training on a file of 100 MB: {seconds:.1f} s, {int(result.stdout) / 1000:.0f} MB")


def main() -> None:
    english = corpus("war_and_peace_en.txt", "shakespeare_en.txt")
    russian = corpus("war_and_peace_ru.txt")
    print(
        f"{sum(map(len, english)):,} characters of English, {sum(map(len, russian)):,} of Russian, {SIZE:,} bytes each"
    )
    print(f"{'':<44} {'ours, s':>9} {'peer, s':>9} {'ratio':>10}")
    tokenizer = byte_level("English", english)
    byte_level("Russian", russian)
    against_tiktoken(tokenizer, english)
    against_the_textbook(english)
    others(english)
    memory([*english, *russian])


if __name__ == "__main__":
    main()
