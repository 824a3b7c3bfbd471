"""Messages over a socket between two processes that need not trust each other.

A frame is two lengths, a JSON object and tensors in safetensors' format:

    4 bytes        4 bytes           as many          as many
    JSON's size    tensors' size     a JSON object    safetensors, nothing where there is no tensor

Both sizes are looked at before anything is read, nothing is ever unpickled, and whatever isn't such a frame is
`Malformed`: who receives it can't know what the other end meant, so the other end has to go. What a well-formed message
says is for others to judge.
"""

import json
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the grader's own process has no use for torch, and a frame without tensors needs none
    from torch import Tensor

SIZES = struct.Struct("!II")
MOST_JSON = 16 * 2**20
MOST_TENSORS = 512 * 2**20
MOST_PARTS = 512  # of one system call; Linux takes twice as many
MOST_ITEMS = 2**20  # in a message: an empty list takes three characters of JSON and 64 bytes of memory
PIECE = 2**18  # as much as a socket holds
CODES = {  # safetensors' names for dtypes
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
    **{f"float8_{kind}": f"F8_{kind.upper()}" for kind in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz")},
    "bool": "BOOL",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}


class Malformed(ValueError):
    """What came is no frame."""


class TooLarge(ValueError):
    """What was to be sent exceeds what the other end reads; nothing was sent."""


class Link:
    """One end of a socket that carries frames, with bounds on what is sent and read."""

    def __init__(self, end: socket.socket, most_json: int = MOST_JSON, most_tensors: int = MOST_TENSORS):
        self.end, self.most_json, self.most_tensors = end, most_json, most_tensors

    def send(self, message: dict, tensors: "dict[str, Tensor] | None" = None, seconds: float | None = None) -> None:
        """Write one frame.

        Raises:
            TooLarge: the other end would not read it.
            ValueError: the message is no JSON.
            TimeoutError: the other end doesn't read.
            OSError: there is no other end any more.
        """
        text = json.dumps(message, separators=(",", ":")).encode()
        if len(text) > self.most_json or items_in(text) > MOST_ITEMS:
            raise TooLarge(f"{len(text) >> 20} MB of text, numbers and lists, at most {self.most_json >> 20} can cross")
        size = sum(tensor.nbytes + 200 for tensor in tensors.values()) if tensors else 0
        if size > self.most_tensors:
            raise TooLarge(f"{size >> 20} MB of tensors, at most {self.most_tensors >> 20} can cross")
        body = parts_of(tensors) if tensors else []
        parts = [memoryview(SIZES.pack(len(text), sum(map(len, body))) + text), *body]
        self.end.settimeout(seconds)
        while parts:
            sent = self.end.sendmsg(parts[:MOST_PARTS])
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][sent:]

    def receive(self, seconds: float | None = None) -> "tuple[dict, dict[str, Tensor]]":
        """Read one frame.

        Raises:
            Malformed: what came is no frame, or too large a one.
            TimeoutError: no whole frame came in time.
            EOFError: there is no other end any more.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        json_size, tensors_size = SIZES.unpack(self._read(SIZES.size, deadline))
        if json_size > self.most_json or tensors_size > self.most_tensors:
            raise Malformed("the frame is too large")
        text = self._read(json_size, deadline)
        return message_of(text), tensors_of(self._read(tensors_size, deadline)) if tensors_size else {}

    def refuse_unasked(self) -> None:
        """Make sure that nothing has come that nobody asked for.

        Raises:
            Malformed: something has.
            EOFError: there is no other end any more.
        """
        try:
            self.end.settimeout(None)
            came = self.end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            came = b""
        if not came:
            raise EOFError
        raise Malformed("an answer came that nobody had asked for")

    def _read(self, size: int, deadline: float | None) -> bytes:
        """Exactly `size` bytes; memory is taken as they come."""
        pieces = []
        while size:
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                raise TimeoutError
            self.end.settimeout(remaining)
            try:
                piece = self.end.recv(min(size, PIECE))
            except TimeoutError:
                raise
            except OSError:
                piece = b""
            if not piece:
                raise EOFError
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def items_in(text: bytes) -> int:
    """At least as many as there are values in a JSON text."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def message_of(text: bytes) -> dict:
    """The JSON object of a frame.

    Raises:
        Malformed: there is none, or one with a key twice.
    """
    if items_in(text) > MOST_ITEMS:
        raise Malformed("the message has too many items")
    try:
        message = json.loads(text.decode(), object_pairs_hook=object_of)
    except (ValueError, RecursionError, MemoryError) as error:
        raise Malformed(f"the message is no JSON ({type(error).__name__})") from None
    if not isinstance(message, dict):
        raise Malformed("the message is no JSON object")
    return message


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object's pairs as a dictionary.

    Raises:
        ValueError: a key occurs twice.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def parts_of(tensors: "dict[str, Tensor]") -> list[memoryview]:
    """Contiguous tensors in safetensors' format, without a copy; its own writer takes several times as long."""
    import torch

    parts, header, place = [], {}, 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": CODES[str(tensor.dtype).removeprefix("torch.")],
            "shape": list(tensor.shape),
            "data_offsets": [place, place := place + tensor.nbytes],
        }
        if tensor.nbytes:
            parts.append(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    text = json.dumps(header).encode()
    return [memoryview(struct.pack("<Q", len(text)) + text), *parts]


def tensors_of(body: bytes) -> "dict[str, Tensor]":
    """The tensors of a frame.

    Raises:
        Malformed: these are no safetensors.
    """
    import torch
    from safetensors.torch import load

    try:
        found = load(body)
        if any(max(x.shape, default=0) > MOST_TENSORS for x in found.values()):
            raise ValueError("an empty tensor of an endless shape")
        # a byte of a bool may be any number, and torch takes two of them for different
        return {name: x.view(torch.uint8) != 0 if x.dtype == torch.bool else x for name, x in found.items()}
    except Exception as error:  # safetensors, torch and assertions of both, each with errors of its own
        raise Malformed(f"the tensors can't be read ({type(error).__name__})") from None
