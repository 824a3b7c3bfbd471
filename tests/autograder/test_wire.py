"""What crosses the wall between the judge and a student's process: everything plain unchanged, and nothing else at all."""

import json
import math
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from autograder import wire
from autograder.judge import Across, Gone
from autograder.wire import SIZES, Link, Malformed, TooLarge
from lecturekit import checks
from lecturekit.models.transformer import TransformerConfig

FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


class Memory:
    """A socket's two ends within one thread: what is sent can be read back, and then it is closed."""

    def __init__(self, data: bytes = b""):
        self.data = bytearray(data)

    def settimeout(self, seconds: float | None) -> None:
        pass

    def sendmsg(self, parts: list) -> int:
        self.data += b"".join(parts)
        return sum(map(len, parts))

    def recv(self, size: int, flags: int = 0) -> bytes:
        if flags & socket.MSG_PEEK:
            if not self.data:
                raise BlockingIOError
            return bytes(self.data[:size])
        piece = bytes(self.data[:size])
        del self.data[:size]
        return piece


def frame(message: object, body: bytes = b"") -> bytes:
    text = message if isinstance(message, bytes) else json.dumps(message).encode()
    return SIZES.pack(len(text), len(body)) + text + body


@pytest.fixture
def ends() -> Iterator[tuple[Link, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        yield Link(near), far


# ---- frames ----------------------------------------------------------------------------------------------------------
def test_a_frame_is_read_as_it_was_sent(ends: tuple[Link, socket.socket]) -> None:
    near, far = ends
    tensors = {"0": torch.randn(3, 4), "1": torch.tensor([True, False]), "2": torch.zeros(0, 3).bfloat16()}
    near.send({"id": 1, "text": "Я иду\ud800"}, tensors)
    near.send({"id": 2})
    message, found = Link(far).receive(1)
    assert message == {"id": 1, "text": "Я иду\ud800"}
    assert all(torch.equal(found[name], tensors[name]) and found[name].dtype == tensors[name].dtype for name in tensors)
    assert Link(far).receive(1) == ({"id": 2}, {})


def test_a_large_frame_crosses_in_pieces(ends: tuple[Link, socket.socket]) -> None:
    near, far = ends
    value = torch.randn(2**21)
    thread = threading.Thread(target=near.send, args=({"id": 1}, {"0": value}))
    thread.start()
    assert torch.equal(Link(far).receive(30)[1]["0"], value)
    thread.join()


HUGE = 2**32 - 1
BROKEN = {
    "a size too large": SIZES.pack(HUGE, 0),
    "tensors too large": SIZES.pack(2, HUGE) + b"{}",
    "no JSON": frame(b"{"),
    "no UTF-8": frame(b'{"a": "\xff"}'),
    "UTF-16": frame('{"id": 1}'.encode("utf-16")),
    "a list": frame([1]),
    "a number": frame(1),
    "nothing": frame(b""),
    "a key twice": frame(b'{"id": 1, "id": 2}'),
    "a key twice within": frame(b'{"id": 1, "reply": {"tensor": "0", "tensor": "1"}}'),
    "deep": frame(b"[" * 10**6),
    "deep but closed": frame(b'{"a":' * 10**5 + b"1" + b"}" * 10**5),
    "a million lists": frame(b'{"a":[' + b"[]," * 2**20 + b"[]]}"),
    "an endless number": frame(b'{"a": ' + b"9" * 5000 + b"}"),
    "no safetensors": frame({"id": 1}, b"x" * 100),
    "a pickle": frame({"id": 1}, b"\x80\x04\x95" + b"x" * 100),
    "a header too long": frame({"id": 1}, struct.pack("<Q", 2**40) + b"{}"),
    "offsets outside": frame(
        {"id": 1},
        struct.pack("<Q", 61) + b'{"0":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}}'.ljust(61) + b"1234",
    ),
    "a shape that overflows": frame(
        {"id": 1},
        struct.pack("<Q", 80)
        + b'{"0":{"dtype":"F32","shape":[9223372036854775807,2,0],"data_offsets":[0,0]}}'.ljust(80),
    ),
    "safetensors cut short": frame({"id": 1}, save({"0": torch.zeros(9)})[:-3]),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(Malformed):
        Link(Memory(data)).receive()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("sent", "closed", "error"),
    [
        (b"", True, EOFError),
        (frame({"id": 1})[:-1], True, EOFError),
        (b"", False, TimeoutError),
        (frame({"id": 1})[:-1], False, TimeoutError),
        (frame({}, b"1" * 9)[:-1], False, TimeoutError),
    ],
)
def test_a_frame_must_come_whole_and_in_time(
    ends: tuple[Link, socket.socket], sent: bytes, closed: bool, error: type
) -> None:
    near, far = ends
    far.sendall(sent)
    if closed:
        far.shutdown(socket.SHUT_WR)
    with pytest.raises(error):
        near.receive(0.05)


def test_a_frame_that_comes_by_single_bytes_has_one_deadline(ends: tuple[Link, socket.socket]) -> None:
    near, far = ends
    stop = threading.Event()

    def drip() -> None:
        for byte in frame({"id": 1, "text": "x" * 1000}):
            if stop.wait(0.02):
                return
            far.sendall(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        near.receive(0.2)
    assert time.monotonic() - began < 5
    stop.set()
    thread.join()


def test_a_reader_that_does_not_read_is_not_waited_for(ends: tuple[Link, socket.socket]) -> None:
    with pytest.raises(TimeoutError):
        ends[0].send({"text": "x" * 10**7}, seconds=0.05)


def test_what_the_other_end_would_refuse_is_not_sent() -> None:
    end = Memory()
    for message, tensors in (
        ({"a": "x" * 2000}, {}),
        ({"a": 1}, {"0": torch.zeros(1000)}),
        ({"a": [[]] * 2**20}, {}),
    ):
        with pytest.raises(TooLarge, match="can cross"):
            Link(end, 10**8 if "0" in tensors or isinstance(message["a"], list) else 1000, 1000).send(message, tensors)
    with pytest.raises(ValueError, match="4300 digits"):
        Link(end).send({"a": 10**5000})
    assert not end.data


def test_a_bool_is_true_or_false_whatever_its_byte() -> None:
    body = (
        save({"0": torch.tensor([0, 1, 2, 255], dtype=torch.uint8)}).replace(b'"U8"', b'"BOOL"').replace(b"[4]", b"[4]")
    )
    body = struct.pack("<Q", struct.unpack("<Q", body[:8])[0] + 2) + body[8:]
    (found,) = wire.tensors_of(body).values()
    assert found.dtype == torch.bool
    assert torch.equal(found, torch.tensor([False, True, True, True]))


# ---- questions and answers -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (b"", "ended"),
        (frame({"id": 2}), "it was for another question"),
        (frame({"id": True}), "it was for another question"),
        (frame({"id": 1.0}), "it was for another question"),
        (frame({"reply": ["value", 1]}), "it was for another question"),
        (b"\0" * 8, "the message is no JSON"),
    ],
)
def test_an_answer_belongs_to_its_question(ends: tuple[Link, socket.socket], answers: bytes, reason: str) -> None:
    near, far = ends
    thread = threading.Thread(target=lambda: (Link(far).receive(5), far.sendall(answers), far.shutdown(socket.SHUT_WR)))
    thread.start()
    with pytest.raises(Gone, match=reason):
        Across(near).ask({"do": "name"})
    thread.join()


def test_an_answer_that_nobody_asked_for_ends_it(ends: tuple[Link, socket.socket]) -> None:
    near, far = ends
    across = Across(near)
    far.sendall(frame({"id": 1, "reply": ["value", 1]}))
    with pytest.raises(Gone, match="nobody had asked for"):
        across.ask({"do": "name"})


@pytest.mark.parametrize("name", [*sorted(checks.PLAIN_DTYPES), "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3)])
def test_every_dtype_crosses(name: str, shape: tuple[int, ...]) -> None:
    value = torch.randn(shape).abs().to(checks.DTYPES[name])
    end, tensors = Memory(), {}
    tree = checks.pack([value, value], lambda thing: 0, tensors)
    Link(end).send({"tree": tree}, tensors)
    message, found = Link(end).receive()
    for back in checks.unpack(message["tree"], lambda i: i, found):
        assert (back.dtype, back.shape) == (value.dtype, value.shape)
        assert torch.equal(back.to(torch.complex128), value.to(torch.complex128))


# ---- plain data ------------------------------------------------------------------------------------------------------
DTYPES = st.sampled_from([checks.DTYPES[name] for name in sorted(checks.PLAIN_DTYPES) if "float8" not in name])
TENSORS = st.builds(
    lambda dtype, shape, seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(9).abs().to(dtype),
    DTYPES,
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(0, 99),
)
KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text())
LEAVES = (
    KEYS | st.floats() | TENSORS | DTYPES | st.builds(TransformerConfig, d_model=st.integers(1, 9).map(lambda n: 8 * n))
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(KEYS, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


def same(one: object, two: object) -> bool:
    """Are both of one type and one value, and a NaN like another?"""
    if type(one) is not type(two):
        return False
    if isinstance(one, Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, float):
        return one == two or (math.isnan(one) and math.isnan(two))
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    return one == two


@FUZZ
@given(TREES)
def test_plain_data_crosses_unchanged(value: object) -> None:
    end, tensors = Memory(), {}
    tree = checks.pack(value, lambda thing: pytest.fail("a handle"), tensors)
    Link(end).send({"tree": tree}, tensors)
    message, found = Link(end).receive()
    assert same(checks.unpack(message["tree"], lambda i: pytest.fail("a handle"), found), value)
    assert not found


def through(answer: bytes) -> object:
    """What a test gets if its first question is answered so: a value, `Wrong`, or `Gone`; nothing else may come out."""
    back = checks.Remote(Across(Link(Answering(answer))).exchange)
    return back.do("name", "f")


class Answering(Memory):
    """Gives these bytes as its answer."""

    def __init__(self, answer: bytes):
        super().__init__()
        self.answer = answer

    def sendmsg(self, parts: list) -> int:
        self.data += self.answer
        return sum(map(len, parts))


EXACT = (
    type(None),
    bool,
    int,
    float,
    str,
    bytes,
    list,
    tuple,
    set,
    dict,
    Tensor,
    torch.dtype,
    checks.Yours,
    TransformerConfig,
)


def all_exact(value: object) -> bool:
    inner = (
        [*value.keys(), *value.values()]
        if isinstance(value, dict)
        else value
        if type(value) in (list, tuple, set)
        else []
    )
    return type(value) in EXACT and all(map(all_exact, inner))


def check_answer(answer: bytes) -> None:
    try:
        value = through(answer)
    except (checks.Wrong, Gone):
        return
    assert all_exact(value)


@FUZZ
@given(st.binary(max_size=300) | st.binary(max_size=60).map(frame))
def test_random_bytes_are_refused_or_plain(data: bytes) -> None:
    check_answer(data)


TAGS = st.sampled_from(
    ["tensor", "complex", "handle", "bytes", "dict", "list", "tuple", "set", "dtype", "config", "value", "what"]
)
NAMES = st.sampled_from(
    ["0", "1", "2", "float32", "nn", "Tensor", "__class__", "lecturekit.models.transformer", "os", "TransformerConfig"]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TAGS | st.text(max_size=3), inner, max_size=2)
        | st.builds(lambda tag, body: {tag: body}, TAGS, inner)
    ),
    max_leaves=15,
)
HEADS = st.sampled_from(["value", "unread", "blank", "broke", "wrong", "passed"])
BODY = save({"0": torch.randn(2, 2), "1": torch.tensor(True), "2": torch.tensor([math.nan])})


@FUZZ
@given(st.tuples(HEADS, JUNK) | st.tuples(HEADS, JUNK, JUNK) | JUNK, st.sampled_from([b"", BODY]))
def test_random_answers_are_refused_or_plain(reply: object, body: bytes) -> None:
    check_answer(frame({"id": 1, "reply": reply}, body))


@FUZZ
@given(TREES, st.data())
def test_damaged_answers_are_refused_or_plain(value: object, data: st.DataObject) -> None:
    end, tensors = Memory(), {}
    tree = checks.pack(value, lambda thing: 0, tensors)
    Link(end).send({"id": 1, "reply": ["value", tree]}, tensors)
    damaged = end.data
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                damaged[place] = data.draw(st.integers(0, 255))
            case 1:
                del damaged[place : place + data.draw(st.integers(1, 9))]
            case _:
                damaged[place:place] = data.draw(st.binary(max_size=9))
        if not damaged:
            break
    check_answer(bytes(damaged))


REFUSED = {
    "an unknown tag": ["value", {"pickle": "gASV"}],
    "two tags": ["value", {"list": [], "tuple": []}],
    "no tag": ["value", {}],
    "a bare list": ["value", [1]],
    "no such tensor": ["value", {"tensor": "7"}],
    "one tensor for two": ["value", {"list": [{"tensor": "0"}, {"tensor": "0"}]}],
    "a tensor left over": ["value", 1],
    "a handle below zero": ["value", {"handle": -1}],
    "a handle in words": ["value", {"handle": "0"}],
    "a handle true": ["value", {"handle": True}],
    "a key twice": ["value", {"dict": [[1, 2], [1, 3]]}],
    "an item twice": ["value", {"set": [1, 1.0]}],
    "a list as key": ["value", {"dict": [[{"list": []}, 1]]}],
    "a handle as key": ["value", {"dict": [[{"handle": 0}, 1]]}],
    "no pair": ["value", {"dict": [[1, 2, 3]]}],
    "another dtype": ["value", {"dtype": "Tensor"}],
    "another module": ["value", {"config": ["os", "system", {"dict": []}]}],
    "no module": ["value", {"config": ["lecturekit.models.none", "A", {"dict": []}]}],
    "no configuration": ["value", {"config": ["lecturekit.models.transformer", "Transformer", {"dict": []}]}],
    "other fields": ["value", {"config": ["lecturekit.models.transformer", "TransformerConfig", {"dict": [["x", 1]]}]}],
    "fields that don't fit": ["value", {"config": ["lecturekit.models.transformer", "TransformerConfig", {"dict": [["num_heads", 0]]}]}],
    "no hexadecimal": ["value", {"bytes": "xy"}],
    "a verdict": ["passed", ""],
    "a verdict in words": "passed",
    "nothing": None,
    "an exception of one's own": ["broke", ["Passed"], ""],
    "no exception": ["broke", ["print"], ""],
    "no kinds": ["broke", [], ""],
    "too deep": ["value", {"list": [{"list": [{"list": [{"list": [{"list": [{"list": [{"list": [{"list": [{"list": [{"list": [{"list": [{"list": [{"list": [{"list": []}]}]}]}]}]}]}]}]}]}]}]}]}]}],
}  # fmt: skip


@pytest.mark.parametrize("reply", REFUSED.values(), ids=REFUSED)
def test_what_no_honest_process_says_is_wrong(reply: object) -> None:
    tensors = save({"0": torch.zeros(2)}) if "tensor" in str(reply) or reply == ["value", 1] else b""
    with pytest.raises(checks.Wrong, match="what came back can't be read"):
        through(frame({"id": 1, "reply": reply}, tensors))


def test_texts_are_bounded() -> None:
    for reply in (
        ["wrong", "x" * 10**6],
        ["broke", ["KeyError"], "x" * 10**6],
        ["blank", "x" * 10**6],
        ["unread", "x" * 10**6],
    ):
        with pytest.raises(checks.Wrong) as error:
            through(frame({"id": 1, "reply": reply}))
        assert len(str(error.value)) <= checks.TEXT
