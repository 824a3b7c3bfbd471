"""The words of a test.

A test cell of a lab is straight-line code over the student's names, `torch` and `check.*`, the verbs of this module:

    layer = check.new(EncoderLayer, config)
    check.params(layer, 7_087_872)
    check.close(layer(x), expected, why="the norm comes after the sum")

It has to give one verdict wherever it runs: in the student's own notebook (Validate, stock nbgrader) and across a
wall, where the student's code runs in one process and the test in another. So each verb is split in two:

    Far       what must run beside the student's code (build, call, differentiate): runs, never judges
    verbs     what judges: sees plain data alone

Between them pass copies of plain data: None, bool, int, float, str, bytes, list, tuple, set, dict, tensors, dtypes and
lecturekit's frozen configurations. Everything else stays on its side and is known on the other by a handle, `Yours`.
`Remote` is the near half of a backend, `Beside` the far one: messages that JSON and safetensors can hold pass between
them. `Here` joins the two within one process; the grader puts a wire between them.

A cell that begins with `%%check lab03 heads` (the first cell of a lab says `%load_ext lecturekit.checks`) is judged in
that manner: names of its own, the student's by copy, random numbers apart from the student's, nothing on stderr.

When a check fails, the answers of the student's code to a few fixed inputs, its fingerprint, are compared with those
of the mistakes that the lab knows (`hints/lab03.json`), and the hint of the mistake that they match is shown.
"""

import ast
import builtins
import contextlib
import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import io
import json
import linecache
import math
import os
import random
import re
import sys
import textwrap
import traceback
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEPTH = 12  # how deeply plain data may be nested
BYTES = 512 * 2**20  # of a tensor that is plain data: a student's `expand` makes any number of them from four
ITEMS = 2**20  # of a list that is plain data
KEPT = 100_000  # things that one test may hold by handle
TEXT = 2000  # characters of a message that comes from a student's side
DTYPES = {str(value).removeprefix("torch."): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
PLAIN_DTYPES = {"bool", "bfloat16", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"}
PLAIN_DTYPES |= {"float16", "float32", "float64", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"}
WIDTH = 75  # columns of a message: nbgrader's Validate cuts longer lines and would show this file instead
FEW = 12  # the most numbers that a message shows one by one
SHORT = 90  # characters of a value that a message shows whole
NOTHING = "None: is there a `return`?"
RAISED_NOTHING = ", but nothing was raised"
KINDS = (  # of what is no plain data
    "an object that is not plain data",
    "a function: is it to be called, or a `@property`?",
    "a generator: is a list of it wanted?",
)
HINTS = Path(__file__).parent / "hints"


# ---- verdicts ------------------------------------------------------------------------------------------------------
class Wrong(AssertionError):
    """The verdict no: what was expected, what was found, and the likely reason."""

    hint = ""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows in place of a traceback: the message and the hint, in short lines."""
        lines = [*wrap(f"Not right yet: {self}")]
        return lines + (["", *wrap(f"Hint: {self.hint}")] if self.hint else [])


class NotWritten(Wrong):
    """`NotImplementedError` came out of the student's code."""

    def _render_traceback_(self) -> list[str]:
        return wrap(str(self))


class Broke(Wrong):
    """Another exception came out of the student's code; `kinds` names it and its builtin ancestors."""

    def __init__(self, kinds: list[str], text: str):
        super().__init__(text)
        self.kinds = kinds


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What one test cell said: `kind` is "passed", "blank" (not written yet), "wrong", or "error" (it broke)."""

    kind: str
    message: str = ""
    hint: str = ""

    @property
    def passed(self) -> bool:
        return self.kind == "passed"


def wrap(text: str) -> list[str]:
    """`text` in lines of at most `WIDTH` columns, its own line breaks kept."""
    return [part for line in text.splitlines() for part in textwrap.wrap(line, WIDTH) or [""]]


# ---- plain data ----------------------------------------------------------------------------------------------------
def pack(value: Any, keep: Callable[[Any], int], tensors: dict[str, Tensor], depth: int = 0) -> Any:
    """`value` as a tree that JSON can hold.

    Tensors are copied to `tensors`, detached and on the CPU; `keep(object)` gives the handle of all that isn't plain.

    Raises:
        ValueError: lists within lists, more than `DEPTH` deep, one of more than `ITEMS`, or a tensor that isn't a dense
            one of `BYTES` at most.
    """
    if depth > DEPTH:
        raise ValueError(f"a value is nested more than {DEPTH} deep")

    def inner(item: Any) -> Any:
        return pack(item, keep, tensors, depth + 1)

    if value is None or isinstance(value, bool):
        return value
    for kind, exact in ((int, int.__int__), (float, float.__float__), (str, str.__str__)):
        if isinstance(value, kind):
            return exact(value)  # `int(value)` would ask a student's subclass
    if isinstance(value, Tensor):
        found, name = copy_of(value), str(len(tensors))
        tensors[name] = torch.view_as_real(found) if found.is_complex() else found
        return {"complex" if found.is_complex() else "tensor": name}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return inner(torch.as_tensor(value.copy()) if value.ndim else value.item())
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, dict | list | tuple | set | frozenset) and len(value) > ITEMS:
        raise ValueError(f"{len(value)} items, at most {ITEMS} can cross")
    if isinstance(value, dict):  # Counter and defaultdict too
        return {"dict": [[inner(key), inner(item)] for key, item in value.items()]}
    for kind, tag in ((list, "list"), (tuple, "tuple"), ((set, frozenset), "set")):  # torch.Size and namedtuples too
        if isinstance(value, kind):
            return {tag: [inner(item) for item in value]}
    if configuration(type(value).__module__, type(value).__name__) is type(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"config": [type(value).__module__, type(value).__name__, inner(fields)]}
    return {"handle": keep(value)}


def copy_of(value: Tensor) -> Tensor:
    """A copy of a tensor of any subclass: torch's own class, detached, contiguous, on the CPU.

    Raises:
        ValueError: it isn't a dense one of numbers, or is larger than `BYTES`.
    """
    with torch._C.DisableTorchFunctionSubclass():  # nothing of a student's subclass runs or comes along
        dtype = str(value.dtype).removeprefix("torch.")
        dense = value.layout is torch.strided and not value.is_nested and value.device.type != "meta"
        if not dense or not (dtype in PLAIN_DTYPES or dtype in ("complex64", "complex128")):
            found = f"{value.layout}, {dtype} on {value.device.type}"
            raise ValueError(f"expected a dense tensor of numbers, found {found}")
        if (size := value.numel() * value.element_size()) > BYTES:
            raise ValueError(f"a tensor of {size >> 20} MB, at most {BYTES >> 20} can cross")
        bare = Tensor.detach(value).cpu().resolve_conj().resolve_neg()
        found = bare.clone(memory_format=torch.contiguous_format)
    if type(found) is not Tensor:
        raise ValueError(f"a tensor of the class {type(value).__name__:.40} has no numbers of its own")
    return found


def unpack(tree: Any, open_: Callable[[int], Any], tensors: dict[str, Tensor], depth: int = 0) -> Any:
    """The value that `pack` packed, of exact builtin types only: no method of the sender's can run here.

    Each tensor is taken out of `tensors`, so that none stands for two.

    Raises:
        ValueError: a tree that `pack` doesn't make.
        TypeError: a set or dictionary of what can't be in one.
    """
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    if depth > DEPTH:
        raise ValueError(f"a value is nested more than {DEPTH} deep")

    def inner(item: Any) -> Any:
        return unpack(item, open_, tensors, depth + 1)

    ((tag, body),) = tree.items() if isinstance(tree, dict) and len(tree) == 1 else [("", None)]
    match tag, body:
        case "tensor", str() if body in tensors:
            return tensors.pop(body)
        case "complex", str() if body in tensors:
            pairs = tensors.pop(body)
            if pairs.dtype in (torch.float32, torch.float64) and pairs.shape[-1:] == (2,):
                return torch.view_as_complex(pairs)
        case "handle", int() if body >= 0 and body is not True and body is not False:
            return open_(body)
        case "bytes", str():
            return bytes.fromhex(body)
        case "dict", list() if all(isinstance(pair, list) and len(pair) == 2 for pair in body):
            found = {inner(key): inner(item) for key, item in body}
            if len(found) == len(body):
                return found
        case "list", list():
            return [inner(item) for item in body]
        case "tuple", list():
            return tuple(inner(item) for item in body)
        case "set", list():
            items = {inner(item) for item in body}
            if len(items) == len(body):
                return items
        case "dtype", str() if body in DTYPES:
            return DTYPES[body]
        case "config", [str(module), str(name), fields] if kind := configuration(module, name):
            try:
                return kind(**inner(fields))
            except Exception as error:  # what a configuration makes of fields that it never had
                raise ValueError(f"no plain data: {name} ({type(error).__name__}: {error!s:.200})") from None
    raise ValueError(f"no plain data: {tag or type(tree).__name__!r:.80}")


def configuration(module: str, name: str) -> type | None:
    """The frozen dataclass of that name in one of lecturekit's model files, if there is one."""
    if not re.fullmatch(r"lecturekit\.models\.\w+", str(module)):
        return None
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    frozen = isinstance(found, type) and dataclasses.is_dataclass(found) and found.__dataclass_params__.frozen
    return found if frozen else None


def plain(value: Any) -> Any:
    """What would come over the wall: copies, of exact types. What isn't plain stays what it is."""
    kept: list[Any] = []
    tensors: dict[str, Tensor] = {}
    tree = pack(value, lambda thing: kept.append(thing) or len(kept) - 1, tensors)
    return unpack(tree, kept.__getitem__, tensors)


# ---- beside the student's code: runs, never judges -------------------------------------------------------------------
class Held:
    """Keeps a plain value on the far side, by handle."""

    def __init__(self, value: Any):
        self.value = value


class Far:
    """The half of the verbs that runs beside the student's code, whose `names` it holds."""

    def __init__(self, names: dict[str, Any]):
        self.names = names

    def name(self, name: str) -> Any:
        if name not in self.names:
            raise NameError(f"your notebook has no {name}: was its cell run, and its name kept?")
        return self.names[name]

    def attr(self, thing: Any, name: str) -> Any:
        return getattr(thing, name)

    def item(self, thing: Any, index: Any) -> Any:
        return thing[index]

    def items(self, thing: Any) -> list[Any]:
        return list(thing)

    def len(self, thing: Any) -> int:
        return len(thing)

    def kind(self, thing: Any) -> str:
        return KINDS[2 if inspect.isgenerator(thing) else 1 if inspect.isroutine(thing) else 0]

    def call(self, f: Callable, *args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)

    def call_keeping(self, keep: int | bool, f: Callable, *args: Any, **kwargs: Any) -> Any:
        out = f(*args, **kwargs)
        return Held(out) if keep is True else tuple(Held(x) if i == keep else x for i, x in enumerate(out))

    def stub(self, kind: str, **plain_arguments: Any) -> Any:
        return STUBS[kind](**plain_arguments)

    def seed(self, n: int) -> None:
        set_random_state(random_state_of(n))

    def new(self, cls: Callable, *args: Any, **kwargs: Any) -> Any:
        self.seed(0)
        thing = cls(*args, **kwargs)
        return thing.eval() if isinstance(thing, nn.Module) else thing

    def fill(self, module: nn.Module, values: dict[str, Tensor]) -> tuple[dict[str, list[int]], list[str]]:
        shapes = {}
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                shapes[name] = list(parameter.shape)
                parameter.copy_(values[name] if name in values else formula(name, parameter.shape))
        return shapes, [name for name in values if name not in shapes and name not in module.state_dict()]

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        return dict(module.state_dict())

    def parameters(self, module: nn.Module) -> dict[str, Tensor]:
        return dict(module.named_parameters())

    def grads(
        self, f: Callable, *args: Any, weight: Any = None, pick: Any = None, wrt: Any = None, **kwargs: Any
    ) -> Any:
        inputs = [x.clone().requires_grad_() if isinstance(x, Tensor) and x.is_floating_point() else x for x in args]
        module = wrt if wrt is not None else f if isinstance(f, nn.Module) else None
        if module is not None:
            module.zero_grad()
        out = f(*inputs, **kwargs)
        out = out if out is None else first(out, pick)
        if not isinstance(out, Tensor):
            return "None" if out is None else "another"
        if out.grad_fn is None:
            return "no gradient"
        if isinstance(weight, Tensor) and weight.shape != out.shape:
            return list(out.shape)
        (out.float() * (1 if weight is None else weight)).sum().backward()
        found = {name: p.grad for name, p in module.named_parameters()} if module is not None else {}
        return found | {f"input{i}": x.grad for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad}

    def shared(self, module: nn.Module, one: str, two: str) -> tuple[Tensor, Tensor, bool]:
        p, q = module.get_parameter(one), module.get_parameter(two)
        with torch.no_grad():
            before = p.clone()
            p.add_(1)
            seen = q.clone()
            p.copy_(before)
        return before, seen, p is q

    def changed(self, f: Callable, *args: Any, **kwargs: Any) -> list[int]:
        before = plain(args)
        f(*args, **kwargs)
        return [i for i, (x, y) in enumerate(zip(before, plain(args), strict=True)) if differ(x, y)]

    def raised(self, f: Callable, *args: Any, **kwargs: Any) -> tuple[list[str], str] | None:
        try:
            f(*args, **kwargs)
        except (Exception, SystemExit) as error:
            return kinds_of(error), tell(error)

    def fit(self, model: nn.Module, batches: list, lr: float, loss: str, pick: Any) -> None:
        """One Adam step a batch, on `model.<loss>(*batch)` where there is such a method, else on a loss of torch.

        The rate climbs to `lr` in the first eighth of the steps and falls to zero in a straight line: at a constant
        one a small model's answers still swing at the last step.
        """
        self.seed(0)
        model.train()
        optimizer = torch.optim.Adam(model.parameters(), lr)
        steps = len(batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(8 * (n + 1) / steps, 1 - n / steps))
        for batch in batches:
            if hasattr(model, loss):
                value = getattr(model, loss)(*batch)
            else:
                *inputs, answer = batch
                out = first(model(*inputs), pick)
                value = getattr(F, loss)(out.flatten(0, -2), answer.flatten())
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
        model.eval()


def formula(name: str, shape: tuple[int, ...]) -> Tensor:
    """Weights of a parameter from its name and shape alone: random numbers differ between processors, these don't.

    Matrices get entries of about 1 / sqrt(fan-in), norms' weights lie around one, biases stay small.
    """
    phase = zlib.crc32(name.encode()) % 628 / 100
    wave = torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * 0.7 + phase)
    scale = 1 / math.sqrt(shape[-1]) if len(shape) > 1 else 0.3
    return (wave * scale + (len(shape) == 1 and name.endswith("weight"))).reshape(tuple(shape)).float()


def kinds_of(error: BaseException) -> list[str]:
    """The names of the builtin exceptions that `error` is one of, nearest first."""
    return [c.__name__ for c in type(error).__mro__[:-1] if getattr(builtins, c.__name__, None) is c]


def tell(error: BaseException) -> str:
    """The exception in one sentence, with the line of the student's code that it came from, if that can be told."""
    text = f"{type(error).__name__}: {words_of(error)}".strip(" :")[:300]
    name, line = theirs(error)
    return text + (f" (in {name}" if name else "") + (f", at `{line[:60]}`" if line else "") + (")" if name else "")


def words_of(error: BaseException) -> str:
    """An exception's own text, "" where a student's class won't give it."""
    try:
        text = str.__str__(str(error))[:TEXT]
    except Exception:
        return ""
    return text.strip().partition("\n")[0]  # of torch's long ones the rest is overloads and C++


def theirs(error: BaseException) -> tuple[str, str]:
    """The innermost function of a traceback that is neither lecturekit's nor a library's, and its line; "" if none."""
    ours = (str(Path(__file__).parent), sys.prefix, sys.base_prefix, os.path.dirname(os.__file__))
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        code = frame.f_code
        if not code.co_filename.startswith(ours):
            return code.co_qualname, linecache.getline(code.co_filename, number).strip()
    return "", ""


# ---- random numbers ------------------------------------------------------------------------------------------------
def random_state() -> tuple:
    """The state of every generator that a student's code is likely to draw from."""
    numpy = sys.modules.get("numpy")
    return random.getstate(), torch.get_rng_state(), numpy.random.get_state() if numpy else None


def set_random_state(state: tuple) -> None:
    """Put back what `random_state` gave."""
    random.setstate(state[0])
    torch.set_rng_state(state[1])
    if state[2] is not None:
        sys.modules["numpy"].random.set_state(state[2])


def random_state_of(n: int) -> tuple:
    """The state that seeding every generator with `n` gives; the generators themselves stay as they were."""
    before = random_state()
    random.seed(n)
    torch.manual_seed(n)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(n % 2**32)
    after = random_state()
    set_random_state(before)
    return after


# ---- backends ------------------------------------------------------------------------------------------------------
class Direct:
    """No wall: the verbs on objects of the test's own, or in a plain cell of a notebook."""

    def do(self, op: str, *args: Any, **kwargs: Any) -> Any:
        """Run one operation of `Far`; what its code raises comes out as `NotWritten` or `Broke`."""
        return answer(getattr(Far({}), op), args, kwargs)


class Remote:
    """The near half of a wall: what a test does to the student's things becomes a message, and its reply plain data.

    `exchange(message, tensors)` carries both over and returns the reply's; nothing in a reply is trusted. Where there
    is no reply any more it raises what isn't an `Exception`, so that no test takes it for one of the student's.
    """

    def __init__(self, exchange: Callable[[dict, dict[str, Tensor]], tuple[Any, dict[str, Tensor]]]):
        self.exchange = exchange

    def do(self, op: str, *args: Any, **kwargs: Any) -> Any:
        """Run one operation of `Far` beside the student's code and return a copy of what it returns.

        Raises:
            Wrong: of the kind that the student's code deserves, or because its reply can't be read.
            TypeError: an argument is neither plain data nor the student's.
        """
        tensors: dict[str, Tensor] = {}
        message = {"do": op, "with": pack([list(args), kwargs], handle_of, tensors)}
        reply, tensors = self.exchange(message, tensors)
        match reply:
            case ["value", tree]:
                try:
                    value = unpack(tree, lambda i: Yours(self, i), tensors)
                except Exception as error:
                    raise Wrong(f"what came back can't be read: {error!s:.300}") from None
                if not tensors:
                    return value
            case ["unread", str(text)]:
                raise Wrong(f"what came back can't be read: {text:.300}")
            case ["blank", str(text)]:
                raise NotWritten(text[:TEXT])
            case ["broke", list(kinds), str(text)] if kinds and all(map(builtin_exception, kinds)):
                raise Broke(kinds, text[:TEXT])
            case ["wrong", str(text)]:  # raised by the student's code, as nothing of ours over there judges
                raise Broke(["AssertionError"], text[:TEXT])
        raise Wrong("what came back can't be read: it is no reply to a test")


def builtin_exception(name: Any) -> bool:
    """Is this the name of one of Python's own exceptions?"""
    found = getattr(builtins, name, None) if isinstance(name, str) else None
    return isinstance(found, type) and issubclass(found, BaseException)


class Beside:
    """The far half of a wall: runs what the messages ask for, and keeps by handle what isn't plain."""

    def __init__(self, names: dict[str, Any]):
        self.far, self.kept = Far(names), []

    def answer(self, message: dict, tensors: dict[str, Tensor]) -> tuple[list, dict[str, Tensor]]:
        """The reply to one message, whatever the student's code does but end the process."""
        args, kwargs = unpack(message["with"], self._open, tensors)
        try:
            result = answer(getattr(self.far, message["do"]), args, kwargs)
        except NotWritten as error:
            return ["blank", str(error)], {}
        except Broke as error:
            return ["broke", error.kinds, str(error)], {}
        except Wrong as error:
            return ["wrong", str(error)], {}
        if message["do"] == "new":  # by handle, whatever it is: a class of the student's may be one of dictionaries
            result = Held(result)
        found: dict[str, Tensor] = {}
        try:
            return ["value", pack(result, self._keep, found)], found
        except Exception as error:  # an object of theirs as a key, a list within itself, an iterator that raises
            return ["unread", words_of(error)], {}

    def _keep(self, thing: Any) -> int:
        if len(self.kept) >= KEPT:
            raise ValueError(f"more than {KEPT} objects")
        self.kept.append(thing)
        return len(self.kept) - 1

    def _open(self, i: int) -> Any:
        thing = self.kept[i]
        return thing.value if isinstance(thing, Held) else thing


class Here(Remote):
    """The wall within one process, with two random streams: the test's, and that of the student's code."""

    def __init__(self, names: dict[str, Any]):
        super().__init__(self._exchange)
        self.beside, self.random = Beside(names), random_state_of(0)

    def _exchange(self, message: dict, tensors: dict[str, Tensor]) -> tuple[list, dict[str, Tensor]]:
        mine = random_state()
        set_random_state(self.random)
        try:
            return self.beside.answer(message, tensors)
        finally:
            self.random = random_state()
            set_random_state(mine)


def answer(f: Callable, args: Any, kwargs: dict[str, Any]) -> Any:
    """`f(*args, **kwargs)` without stderr and warnings, with torch's defaults; whatever it raises comes out as one of
    `Wrong`'s kinds."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), default_torch():
            warnings.simplefilter("ignore")
            return f(*args, **kwargs)
    except NotImplementedError as error:
        raise NotWritten(f"{theirs(error)[0] or 'this'} is not written yet") from None
    except Wrong:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise Broke(kinds_of(error), tell(error)) from None


@contextlib.contextmanager
def default_torch() -> Iterator[None]:
    """torch as it comes: with gradients, new tensors in float32. A cell of the student's may have set it otherwise."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)


def handle_of(thing: Any) -> int:
    """The handle of a thing of the student's.

    Raises:
        TypeError: the thing isn't the student's: a test sends plain data alone.
    """
    if not isinstance(thing, Yours):
        raise TypeError(f"a test may not send {type(thing).__name__} to a student's code")
    return thing._id


class Yours:
    """A thing of the student's that isn't plain data: call it, take its attributes and items, iterate over it."""

    def __init__(self, back: Any, i: int):
        self.__dict__.update(_back=back, _id=i)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._back.do("attr", self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._back.do("call", self, *args, **kwargs)

    def __getitem__(self, index: Any) -> Any:
        return self._back.do("item", self, index)

    def __len__(self) -> int:
        try:
            return self._back.do("len", self)
        except Broke as error:  # list(generator) asks for a length first, and takes a TypeError for "none"
            raise TypeError(str(error)) from None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._back.do("items", self))

    def _refuse(self, *args: Any) -> Any:
        raise Wrong("expected plain data (numbers, text, lists, tensors), found an object of another kind")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = _refuse
    __mul__ = __rmul__ = __matmul__ = __rmatmul__ = __bool__ = __setattr__ = __setitem__ = _refuse
    __hash__ = None  # type: ignore[assignment]


class Names(dict):
    """The globals of a test cell: its own names, and the student's for every name that it doesn't bind."""

    def __init__(self, back: Any):
        super().__init__(torch=torch, math=math, check=sys.modules[__name__], __builtins__=builtins, __name__="test")
        self._back = back

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            raise KeyError(name)
        return self._back.do("name", name)


class ByName(dict):
    """What a module has by name; asked for what it hasn't, it says what it has."""

    def __missing__(self, name: str) -> Any:
        raise lacks(name, self)


class Filled(dict):
    """What `fill` wrote, by the name of the parameter: known on this side, whatever the other one says it has."""

    def __init__(self, shapes: dict[str, list[int]], values: dict[str, Tensor]):
        super().__init__({name: value for name, value in values.items() if name in shapes})
        self.shapes = shapes

    def __missing__(self, name: str) -> Tensor:
        if name not in self.shapes:
            raise lacks(name, self.shapes)
        return self.setdefault(name, formula(name, self.shapes[name]))


def lacks(name: str, there: Any) -> Wrong:
    """What to raise for a name that a module lacks."""
    return Wrong(f"your module has no {name!r}, but {', '.join(map(str, there)) or 'nothing'!s:.200}")


_direct = Direct()
_current: Any = _direct
_passed: Collection[str] = ()  # the exercises before, all of whose tests the student has passed


def _do(op: str, *args: Any, **kwargs: Any) -> Any:
    """One operation, on the student's side if anything of theirs is in it."""
    side = next((x._back for x in [*args, *kwargs.values()] if isinstance(x, Yours)), None)
    return (side or (_current if op in ("stub", "seed") else _direct)).do(op, *args, **kwargs)


@contextlib.contextmanager
def facing(back: Any) -> Iterator[None]:
    """Within it, verbs that are given nothing of the student's (`stub`, `seed`) act on this side."""
    global _current
    outer, _current = _current, back
    try:
        yield
    finally:
        _current = outer


# ---- the verbs -----------------------------------------------------------------------------------------------------
def new(cls: Callable, *args: Any, **kwargs: Any) -> Any:
    """An object of the student's class, built from a fixed seed, in evaluation mode."""
    return _do("new", cls, *args, **kwargs)


def fill(module: Any, values: dict[str, Tensor] | None = None) -> Filled:
    """Set every parameter: to `values[name]` if given, else to a formula of its name and shape. What they are now.

    A test that works out what should come from these weights takes them from here: what `state` says of a student's
    module need not be what it computes with.
    """
    shapes, unknown = _do("fill", module, values or {})
    if unknown:
        raise lacks(unknown[0], shapes)
    return Filled(shapes, values or {})


def state(module: Any) -> dict[str, Tensor]:
    """The tensors of a module by name, as `state_dict` names them."""
    return ByName(_do("state", module))


def params(module: Any, expected: int | None = None) -> dict[str, tuple[int, ...]]:
    """The shapes of a module's parameters by name, and their count compared with `expected`; shared ones count once."""
    tensors = _do("parameters", module)
    count = sum(t.numel() for t in tensors.values())
    shapes = {name: tuple(t.shape) for name, t in tensors.items()}
    if expected is not None and count != expected:
        raise Wrong(f"expected {expected} parameters, found {count}: {shapes!r:.200}")
    return ByName(shapes)


def grads(
    f: Any, *args: Any, weight: Tensor | None = None, pick: Any = None, wrt: Any = None, **kwargs: Any
) -> dict[str, Tensor | None]:
    """The gradients of `(f(*args) * weight).sum()`: of each parameter of `f` (or of `wrt`) by name, and of each
    floating-point argument as "input0", "input1" ...; None where none arrives. `pick` chooses an item of the result."""
    found = _do("grads", f, *args, weight=weight, pick=pick, wrt=wrt, **kwargs)
    if found == "None":
        raise Wrong(f"expected a tensor, found {NOTHING}")
    if found == "another":
        raise Wrong("expected a tensor, found an object of another kind")
    if isinstance(found, list):
        raise Wrong(told(f"shape {tuple(weight.shape)}", tuple(found), ""))
    if not isinstance(found, dict):
        raise Wrong("the output carries no gradient: was it detached, or turned into plain numbers?")
    return ByName(found)


def call(f: Any, *args: Any, keep: int | bool | None = None, **kwargs: Any) -> Any:
    """`f(*args, **kwargs)` by copy. `keep` names the item of the result that stays on the student's side by handle
    (a cache, a decoder's state); True keeps all of it."""
    if keep is None:
        return _do("call", f, *plain(args), **plain(kwargs))
    return _do("call_keeping", keep, f, *plain(args), **plain(kwargs))


def stub(kind: str, **plain_arguments: Any) -> Any:
    """A model of ours that lives beside the student's code, for functions that take a model: a key of `STUBS`."""
    return _do("stub", kind, **plain_arguments)


def seed(n: int) -> None:
    """Seed the generators that the student's code draws from."""
    _do("seed", n)


def raises(kind: type[BaseException], f: Any, *args: Any, why: str = "", **kwargs: Any) -> None:
    """`f(*args, **kwargs)` must raise the builtin exception `kind` or a child of it; `why` says what for."""
    found = _do("raised", f, *args, **kwargs)
    if found is None:
        raise Wrong(f"expected {kind.__name__}{RAISED_NOTHING}" + (f": {why}" if why else ""))
    kinds, text = found
    if "NotImplementedError" in kinds and kind is not NotImplementedError:
        raise NotWritten("this is not written yet")
    if kind.__name__ not in kinds:
        raise Wrong(told(kind.__name__, text, why))


def pure(f: Any, *args: Any, **kwargs: Any) -> None:
    """`f` must leave its arguments as they were."""
    changed = _do("changed", f, *args, **kwargs)
    if changed:
        raise Wrong(f"argument {changed[0] + 1} was changed in place: work on a copy")


def shared(module: Any, one: str, two: str) -> None:
    """Two names of a module must mean one Parameter. A tied copy of `.data` shares memory, yet trains apart."""
    before, seen, same = _do("shared", module, one, two)
    if differ(before + 1, seen):
        raise Wrong(f"{one} and {two} are copies: a change in one does not reach the other")
    if not same:
        raise Wrong(f"{one} and {two} share memory, but are two parameters: each gets its own gradient")


def shape(value: Any, *expected: int) -> None:
    """`value` must be a tensor of this shape."""
    value = plain(value)
    if not isinstance(value, Tensor):
        raise Wrong(f"expected a tensor of shape {expected}, found {NOTHING if value is None else named(value)}")
    if tuple(value.shape) != expected:
        raise Wrong(f"expected shape {expected}, found {tuple(value.shape)}")


def dtype(value: Any, expected: Any) -> None:
    """`value` must be a tensor of this dtype, or a plain value of this type."""
    value = plain(value)
    found = value.dtype if isinstance(value, Tensor) else type(value)
    if found != expected:
        wanted = expected if isinstance(expected, torch.dtype) else expected.__name__
        raise Wrong(told(wanted, NOTHING if value is None else kind_of(value), ""))


def close(got: Any, expected: Any, tol: float = 1e-4, why: str = "") -> None:
    """Numbers must agree to `tol`, relative and absolute: tensors, numbers, and lists, tuples and dictionaries of them.

    A list may stand for a tuple, and a tensor without dimensions for its number; everything else must be equal.
    """
    got, expected = plain(got), plain(expected)
    if got is None and expected is not None:
        raise Wrong(told(named(expected), NOTHING, why))
    compare(got, expected, tol, why)


def compare(got: Any, expected: Any, tol: float, why: str) -> None:
    """`close` for what is plain already."""
    if isinstance(expected, dict):
        if not isinstance(got, dict) or got.keys() != expected.keys():
            names = sorted(map(str, got)) if isinstance(got, dict) else named(got)
            raise Wrong(told(f"names {sorted(map(str, expected))}", names, why))
        for name in expected:
            compare(got[name], expected[name], tol, f"{why} (at {name!r})" if why else f"at {name!r}")
    elif isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple):
            raise Wrong(told(f"{len(expected)} items", named(got), why))
        if len(got) != len(expected):
            raise Wrong(told(f"{len(expected)} items", f"{len(got)}: {cut(got, 60)}", why))
        for i, (x, y) in enumerate(zip(got, expected, strict=True)):
            compare(x, y, tol, why or f"at item {i}")
    elif isinstance(expected, Tensor | int | float) and not isinstance(expected, bool):
        if not isinstance(got, Tensor | int | float) or isinstance(got, bool):
            raise Wrong(told("numbers", named(got), why))
        close_tensors(torch.as_tensor(got), torch.as_tensor(expected), tol, why)
    else:
        equal(got, expected, why)


def close_tensors(got: Tensor, expected: Tensor, tol: float, why: str) -> None:
    """`close` for two tensors: says where they are furthest apart."""
    if got.shape != expected.shape:
        raise Wrong(told(f"shape {tuple(expected.shape)}", tuple(got.shape), why))
    g, e = got.double(), expected.double()
    if torch.allclose(g, e, tol, tol):
        return
    if bool(g.isnan().any()):
        count = f" ({int(g.isnan().sum())} of {g.numel()} values)" if g.numel() > 1 else ""
        raise Wrong(told("numbers", f"nan{count}", why))
    gap = (g - e).abs().nan_to_num(math.inf, math.inf)
    where = tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape))
    place = f" at {list(where)}" if where else ""
    share = f" ({int((gap > tol).sum())} of {gap.numel()} values differ)" if gap.numel() > 1 else ""
    raise Wrong(told(f"{e[where].item():.5g}{place}", f"{g[where].item():.5g}{share}", why))


def equal(got: Any, expected: Any, why: str = "") -> None:
    """The same type and the same value, tensors included."""
    got, expected = plain(got), plain(expected)
    if type(got) is type(expected) and not differ(got, expected):
        return
    if got is None:
        raise Wrong(told(named(expected), NOTHING, why))
    if alike_tensors(got, expected) and got.numel() > FEW:
        place = tuple((got != expected).nonzero()[0].tolist())
        count = f"{int((got != expected).sum())} of {got.numel()} values differ"
        raise Wrong(told(f"{expected[place].item()} at {list(place)}", f"{got[place].item()} ({count})", why))
    if type(got) is not type(expected) and same_numbers(got, expected):
        raise Wrong(told(kind_of(expected), f"{kind_of(got)} with the same value", ""))
    raise Wrong(told(*apart(expected, got), why))


def same_numbers(one: Any, two: Any) -> bool:
    """Do two values of different types stand for the same numbers?"""
    try:
        return bool(torch.equal(torch.as_tensor(one).double(), torch.as_tensor(two).double()))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return False


def apart(expected: Any, got: Any) -> tuple[str, str]:
    """Two different values in a few words: whole where they are short, else the first place where they differ."""
    if len(repr(expected)) <= SHORT or type(got) is not type(expected) or isinstance(expected, Tensor):
        return named(expected), named(got)
    if isinstance(expected, dict):
        if missing := [key for key in expected if key not in got]:
            return f"{missing[0]!r} among the keys", f"{len(got)} others: {cut(list(got), SHORT)}"
        if more := [key for key in got if key not in expected]:
            return f"{len(expected)} keys", f"another, {more[0]!r}"
        places = [key for key in expected if differ(got[key], expected[key])]
    elif isinstance(expected, list | tuple):
        if len(got) != len(expected):
            return f"{len(expected)} items", f"{len(got)}: {cut(got, SHORT)}"
        places = [i for i, (x, y) in enumerate(zip(expected, got, strict=True)) if differ(x, y)]
    else:
        return named(expected), named(got)
    one, two = apart(expected[places[0]], got[places[0]])
    return f"{one} at [{places[0]!r}]", two


def causal(f: Any, x: Tensor, *rest: Any, dim: int = 1, pick: Any = None, **kwargs: Any) -> None:
    """What stands at a later position of `x` along `dim` must not move earlier outputs, and must move its own."""
    n = x.shape[dim]
    t = n // 2
    changed = x.clone()
    tail = changed.narrow(dim, t, n - t)
    tail.copy_(tail + 1 if x.is_floating_point() else (tail + 1) % (int(x.max()) + 1))
    one, two = (first(call(f, z, *rest, **kwargs), pick) for z in (x, changed))
    if differ(one.narrow(dim, 0, t), two.narrow(dim, 0, t), 1e-5):
        raise Wrong(f"a change at position {t} moves what comes out before it: the future is visible")
    if not differ(one.narrow(dim, t, n - t), two.narrow(dim, t, n - t), 1e-5):
        raise Wrong("the input does not reach the output")


def padding_invariant(f: Any, x: Tensor, real: Tensor, *rest: Any, pick: Any = None, **kwargs: Any) -> None:
    """What stands where `real` [B, T] is False must not move the outputs where it is True; `f(x, *rest, **kwargs)`."""
    spread = real.reshape(real.shape + (1,) * (x.dim() - real.dim()))
    other = torch.where(spread, x, x.flip(0).roll(1, 1) + (7.0 if x.is_floating_point() else 0))
    one, two = (first(call(f, z, *rest, **kwargs), pick) for z in (x, other))
    if differ(one[real], two[real], 1e-5):
        raise Wrong("what stands at padded positions moves the result at real ones")


def rate(hits: int, of: int, p: float, why: str = "") -> None:
    """`hits` of `of` must look drawn with probability `p`: within five standard deviations, which an honest draw
    misses once in 1.7 million."""
    margin = 5 * math.sqrt(p * (1 - p) / max(of, 1))
    if of == 0 or abs(hits / of - p) > margin:
        raise Wrong(told(f"a share of {p:.3f} ± {margin:.3f}", f"{hits / max(of, 1):.3f}", why))


def ours(name: str, *args: Any, **kwargs: Any) -> Any:
    """A model of lecturekit's own on the judging side, in evaluation mode; the test's random numbers go on unmoved.

    Args:
        name: such as "lecturekit.models.transformer:Transformer".

    Raises:
        ValueError: lecturekit has nothing of that name.
    """
    before = random_state()
    try:
        thing = reference(name)(*args, **kwargs)
    finally:
        set_random_state(before)
    return thing.eval() if isinstance(thing, nn.Module) else thing


def reference(name: str) -> Callable:
    """A class or function of lecturekit's own, by module and name.

    Raises:
        ValueError: lecturekit has nothing of that name.
    """
    module, _, what = name.partition(":")
    known = re.fullmatch(r"lecturekit(\.\w+)+", module) and importlib.util.find_spec(module)
    found = getattr(importlib.import_module(module), what, None) if known else None
    if not callable(found):
        raise ValueError(f"{name!r}: expected a class of lecturekit, as in 'lecturekit.layers:LayerNorm'")
    return found


def whole(
    f: Any,
    ours: Any,
    *args: Any,
    after: Collection[str],
    pick: Any = None,
    gradients: bool = False,
    tol: float = 1e-4,
    why: str = "",
    **kwargs: Any,
) -> None:
    """What is put together of right pieces must answer as ours does: `f(*args)`, or its gradients.

    A test that works out what it expects by the student's own pieces forgives a slip in these, but would also believe
    pieces that are right only while they are tested themselves. So this says nothing unless the student has passed all
    tests of the exercises `after`, from which the pieces are.

    Args:
        ours: a module from `ours`, filled as the student's is, or the name of a function of lecturekit, such as
            "lecturekit.layers:split_heads".
    """
    if not set(after) <= set(_passed):
        return
    twin = reference(ours) if isinstance(ours, str) else ours
    if gradients:
        got, expected = (grads(g, *args, pick=pick, **kwargs) for g in (f, twin))
    else:
        got, expected = (first(call(g, *args, **kwargs), pick) for g in (f, twin))
    close(got, expected, tol, why or "your pieces are right, so the whole must be what lecturekit's own is")


def learns(
    model: Any,
    batches: list[tuple[Tensor, ...]],
    held_out: tuple[Tensor, ...],
    at_least: float,
    lr: float = 3e-3,
    loss: str = "cross_entropy",
    begin: int | None = None,
    pick: Any = None,
    twin: nn.Module | None = None,
) -> None:
    """One Adam step a batch on the student's side, then unseen inputs are marked here, whole rows at a time.

    Args:
        batches: the arguments of the model's own method `loss` where it has one of that name; else the inputs and,
            last, the answers, for a loss of `torch.nn.functional`.
        held_out: inputs and, last, the answers [B, ...].
        begin: the token to begin with, for a model that is called as `model(source, target)` and answers a token at
            a time: the prefix grows by the best token each time (greedy decoding).
        twin: what `ours` built. What the student's side answers might be made up, or worked out by rule. So the
            weights that the training made are loaded into the twin, whose answers are marked, and the student's
            model has to say the same as its twin.
    """
    _do("fit", model, batches, lr, loss, pick)
    *inputs, answers = held_out
    if twin is not None:
        load_twin(twin, state(model), params(model))
        agree(model, twin, inputs if begin is None else [*inputs, begun(answers, begin)[:, :-1]], pick)
    got = answered(model if twin is None else twin, inputs, answers, begin, pick)
    right = (got == answers).flatten(1).all(1) if answers.dim() > 1 else got == answers
    share = right.float().mean().item()
    if share < at_least:
        unseen = f"{len(right)} unseen inputs are answered right after {len(batches)} steps"
        raise Wrong(f"{share:.0%} of {unseen}, expected {at_least:.0%}")


def begun(answers: Tensor, begin: int) -> Tensor:
    """The answers [B, T] behind the token to begin with, [B, T + 1]."""
    return torch.cat([torch.full_like(answers[:, :1], begin), answers], dim=1)


@torch.no_grad()
def answered(model: Any, inputs: list[Tensor], answers: Tensor, begin: int | None, pick: Any) -> Tensor:
    """The best answers of a model: all at once, or a token at a time behind `begin`."""
    if begin is None:
        return first(call(model, *inputs), pick).argmax(-1)
    got = torch.full((answers.size(0), 1), begin)
    for _ in range(answers.size(1)):
        best = first(call(model, *inputs, got), pick)[:, -1:].argmax(-1)
        got = torch.cat([got, best], dim=1)
    return got[:, 1:]


def load_twin(twin: nn.Module, tensors: Any, parameters: Collection[str]) -> None:
    """Let a model of ours hold a student's tensors, which have to be those that it has, by name and shape.

    Of the student's `parameters` all have to be there; buffers of their own are left out, since what both models then
    answer is compared.
    """
    wanted = twin.state_dict()
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise Wrong("expected the tensors of your model by name, found something else in its state_dict")
    for name, tensor in wanted.items():
        if name not in tensors:
            raise Wrong(f"your model has no tensor {name!r}, expected one of shape {tuple(tensor.shape)}")
        if tensors[name].shape != tensor.shape:
            raise Wrong(f"{name!r}: expected shape {tuple(tensor.shape)}, found {tuple(tensors[name].shape)}")
        if tensors[name].is_floating_point() != tensor.is_floating_point():
            raise Wrong(f"{name!r}: expected {tensor.dtype}, found {tensors[name].dtype}")
    if unexpected := [name for name in parameters if name not in wanted]:
        name = str(unexpected[0])[:60]
        raise Wrong(f"your model has a parameter {name!r}, expected no more than {len(wanted)} others")
    twin.load_state_dict({name: tensors[name] for name in wanted})


@torch.no_grad()
def agree(model: Any, twin: nn.Module, inputs: list[Tensor], pick: Any) -> None:
    """The student's model must say what its twin, a model of ours with the same weights, says."""
    why = "lecturekit's own model, given the weights of yours, answers otherwise"
    close(first(call(model, *inputs), pick), first(call(twin, *inputs), pick), tol=1e-3, why=why)


def first(value: Any, pick: Any) -> Any:
    """`value`, or the item of it that `pick` names."""
    return value if pick is None else value[pick]


def differ(one: Any, two: Any, tol: float = 0.0) -> bool:
    """Are two plain values different? Tensors differ in dtype and shape too; `tol` is for tensors."""
    if isinstance(one, Tensor) or isinstance(two, Tensor):
        if not alike_tensors(one, two):
            return True
        return not (torch.allclose(one, two, tol, tol) if tol else torch.equal(one, two))
    if isinstance(one, list | tuple) and type(one) is type(two):
        return len(one) != len(two) or any(differ(x, y, tol) for x, y in zip(one, two, strict=True))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() != two.keys() or any(differ(one[k], two[k], tol) for k in one)
    return one != two


def alike_tensors(one: Any, two: Any) -> bool:
    """Are both tensors, of one shape and dtype?"""
    both = isinstance(one, Tensor) and isinstance(two, Tensor)
    return both and one.shape == two.shape and one.dtype == two.dtype


def named(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, Tensor):
        if value.numel() <= FEW:
            return f"{value.tolist()!r} ({value.dtype})"
        return f"a tensor of shape {tuple(value.shape)} ({value.dtype})"
    if isinstance(value, set) and value:  # Python's own order is another one on every run
        return f"{{{', '.join(sorted(map(repr, value))):.88}}}"
    if isinstance(value, Yours):
        kind = _do("kind", value)
        return kind if kind in KINDS else KINDS[0]
    if isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value):
        return f"{len(value)} items"
    return cut(value, SHORT)


def cut(value: Any, most: int) -> str:
    """A value as Python writes it, at most so many characters."""
    text = repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def kind_of(value: Any) -> str:
    """The kind of a value in words: "a plain int", "a tensor (torch.int64)"."""
    if isinstance(value, Yours):
        return named(value)
    if isinstance(value, Tensor):
        return f"a tensor ({value.dtype})"
    name = type(value).__name__
    return f"a plain {name}" if isinstance(value, int | float) else f"a {name}"


def told(expected: Any, found: Any, why: str) -> str:
    """The sentence that every comparison says."""
    return f"expected {expected}, found {found}" + (f": {why}" if why else "")


# ---- fingerprints and hints ----------------------------------------------------------------------------------------
def observe(f: Any, *args: Any, pick: Any = None, **kwargs: Any) -> "Observation":
    """One observation: what `f(*args, **kwargs)` gives, or the exception's name, in a few numbers and words.

    `f` may be a verb: `observe(check.grads, f, x)` sees which gradients arrive, `observe(check.pure, f, x)` whether
    an argument is changed, `observe(check.params, module)` what is in a module.
    """
    try:
        if isinstance(f, FunctionType) and f.__module__ == __name__:
            value = f(*args, **kwargs) if pick is None else f(*args, pick=pick, **kwargs)
        else:
            value = first(call(f, *args, **kwargs), pick)
    except NotWritten:
        return Observation(["not written"])
    except Broke as error:
        return Observation([error.kinds[0]])
    except Wrong as error:
        return Observation([re.sub(r"\d[\d.e+-]*", "#", str(error))[:80]])
    except Exception as error:
        return Observation([kinds_of(error)[0]])
    return Observation(digest(plain(value)))


class Observation(list):
    """Words and numbers that stand for a value."""


def digest(value: Any) -> list[str | float]:
    """A value in a few words and numbers; a tensor by its shape, size, two projections and first item."""
    if isinstance(value, Tensor):
        flat = value.double().flatten()
        words: list[str | float] = [f"{value.dtype} {tuple(value.shape)}"]
        if not flat.numel() or not bool(flat.isfinite().all()):
            return [*words, "not finite" if flat.numel() else "empty"]
        i = torch.arange(flat.numel(), dtype=torch.float64)
        scale = max(flat.numel(), 1) ** 0.5
        numbers = (
            flat.abs().mean(),
            (flat * torch.cos(i)).sum() / scale,
            (flat * torch.cos(i * i)).sum() / scale,
            flat[0],
        )
        return [*words, *(float(f"{n:.6g}") for n in numbers)]
    if isinstance(value, dict):
        return [part for key in sorted(value, key=str) for part in (str(key), *digest(value[key]))]
    if isinstance(value, list | tuple):
        return [f"{type(value).__name__} of {len(value)}", *(part for item in value for part in digest(item))]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [float(value)]
    return [named(value)]


def fingerprint(observing: str, back: Any) -> dict[str, list[str | float]]:
    """What the names of the student's side answer to the observing code: `{name: observation}` for each name it binds
    to an observation. Where that code can't go on, the exception's name stands for the rest."""
    names = Names(back)
    seen: dict[str, list[str | float]] = {}
    try:
        with facing(back):
            exec(compile(observing, "<observing>", "exec"), names)
    except Broke as error:
        seen["stopped"] = [error.kinds[0]]
    except Exception as error:
        seen["stopped"] = [type(error).__name__]
    return {name: list(value) for name, value in names.items() if isinstance(value, Observation)} | seen


def alike(one: dict[str, list], two: dict[str, list], tol: float = 1e-3) -> bool:
    """Are two fingerprints those of the same code? Numbers may differ by `tol`, relative: processors round apart."""

    def same(x: Any, y: Any) -> bool:
        if isinstance(x, str) or isinstance(y, str):
            return x == y
        return abs(x - y) <= tol * max(abs(x), abs(y), 1e-3)

    return one.keys() == two.keys() and all(len(one[k]) == len(two[k]) and all(map(same, one[k], two[k])) for k in one)


def hint_for(lab: str, exercise: str, back: Any) -> str:
    """The hint of the known mistake whose fingerprint the student's code has; "" if it has none of them."""
    path = HINTS / f"{lab}.json"
    known = json.loads(path.read_text(encoding="utf-8")).get(exercise) if path.exists() else None
    if known is None:
        return ""
    found = fingerprint(known["observe"], back)
    if found.get("stopped") == ["NameError"]:  # a later cell of the exercise has not been run: go by what is there
        del found["stopped"]

    def seen(prints: dict[str, list]) -> dict[str, list]:
        return {name: prints[name] for name in prints if name in found}

    if alike(found, seen(known["reference"])):
        return ""
    return next((m["hint"] for m in known["mistakes"].values() if alike(found, seen(m["fingerprint"]))), "")


# ---- judging a cell ------------------------------------------------------------------------------------------------
def judge(
    source: str, back: Any, lab: str = "", exercise: str = "", secret: str = "", passed: Collection[str] = ()
) -> Verdict:
    """Run a test cell against the names of `back` and say how it went; never raises for what a student wrote.

    The test's random numbers, and those that the student's code draws meanwhile, are the same on every run; the
    generators are left as they were found. `secret` moves the test's alone: what the student's side is told says
    nothing about them. `passed` are the exercises before, all of whose tests have been passed.
    """
    global _passed
    before = random_state()
    try:
        _passed = passed
        set_random_state(random_state_of(digest_of("test", secret, lab, exercise)))
        with default_torch():
            return run(source, back, lab, exercise)
    finally:
        _passed = ()
        set_random_state(before)


def digest_of(*words: str) -> int:
    """A number that says nothing about the words that it is made of."""
    return int.from_bytes(hashlib.sha256(json.dumps(words).encode()).digest()[:6], "big")


def run(source: str, back: Any, lab: str, exercise: str) -> Verdict:
    """`judge` within its own random numbers."""
    try:
        back.do("seed", digest_of("student", lab, exercise))
        with facing(back):
            exec(compile(Unpacking().visit(ast.parse(source)), "<test>", "exec"), Names(back))
        return Verdict("passed")
    except NotWritten as error:
        return Verdict("blank", str(error))
    except Broke as error:
        kind, message = "error", str(error)
    except Wrong as error:
        kind, message = "wrong", str(error)
        line = line_of(source, error) if message.endswith(RAISED_NOTHING) else ""
        message += f" by `{line}`" if line else ""
    except AssertionError as error:
        line = line_of(source, error)
        kind, message = "wrong", str(error) or f"expected {f'`{line}`' if line else 'a hidden check'} to hold"
    except Exception as error:
        line = line_of(source, error)
        place = f", in `{line}`" if line else ""
        kind, message = "wrong", f"the test can't use what came back ({type(error).__name__}: {error}{place})"
    return Verdict(kind, message, hint_for(lab, exercise, back))


class Unpacking(ast.NodeTransformer):
    """Lets `a, b = f(x)` in a test cell say what else than two results came back from the student's `f`."""

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        names = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else []
        if names and of_theirs(node.value) and not any(isinstance(name, ast.Starred) for name in names):
            verb = ast.Attribute(ast.Name("check", ast.Load()), "results", ast.Load())
            node.value = ast.copy_location(ast.Call(verb, [node.value, ast.Constant(len(names))], []), node.value)
        return ast.fix_missing_locations(node)


def of_theirs(node: ast.AST) -> bool:
    """Is this a call of something that is neither torch's nor a verb, `check.call` apart?"""
    if not isinstance(node, ast.Call):
        return False
    path = ast.unparse(node.func)
    return path == "check.call" or not (path.startswith(("check.", "torch.", "math.")) or "(" in path)


def results(value: Any, count: int) -> Any:
    """What a student's function returned, which must be so many results, not one: a tensor would be taken apart."""
    if value is None or isinstance(value, Tensor):
        raise Wrong(told(f"{count} results", NOTHING if value is None else f"one, {named(value)}", ""))
    if isinstance(value, list | tuple) and len(value) != count:
        raise Wrong(told(f"{count} results", f"{len(value)}", ""))
    return value


def line_of(source: str, error: BaseException) -> str:
    """The line of a test cell that failed; "" where the cell hides it."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == "<test>"]
    number = (lines[-1] or 1) if lines else 1
    before = source.splitlines()[: number - 1]
    hidden = sum("BEGIN HIDDEN" in x for x in before) > sum("END HIDDEN" in x for x in before)
    return "" if hidden else source.splitlines()[number - 1].strip()


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Nothing on stderr, not from C++ either: stock nbgrader gives 0 points for anything there."""
    sys.stderr.flush()
    saved, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nothing)


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext lecturekit.checks`: gives a notebook the magic `%%check LAB EXERCISE`, and torch one thread.

    That is what graders give it. The labs' models are too small to gain by more, and the cores of a hub are everyone's:
    threads that wait for one another there take many times as long. Who has a machine to themselves may set more.
    """
    torch.set_num_threads(1)

    seen: dict[str, dict[str, bool]] = {}  # by exercise and cell, whether it was passed

    def check(line: str, source: str) -> None:
        lab, exercise = line.split()
        passed = [name for name, cells in seen.items() if name != exercise and all(cells.values())]
        with silent_stderr():
            verdict = judge(source, Here(shell.user_ns), lab, exercise, passed=passed)
        seen.setdefault(exercise, {})[source] = verdict.passed
        if not verdict.passed:
            error = NotWritten(verdict.message) if verdict.kind == "blank" else Wrong(verdict.message)
            error.hint = verdict.hint
            raise error from None
        print(f"{exercise}: passed")

    shell.register_magic_function(check, "cell", "check")


# ---- stubs: models of ours that a student's function is handed -------------------------------------------------------
class TableStep:
    """A decoder's step, `step(token, state) -> (logits [V], state)`, whose next token hangs on the last one alone."""

    def __init__(self, table: Tensor):
        self.table, self.calls = table, 0

    def __call__(self, token: Any, state: Any) -> tuple[Tensor, Any]:
        self.calls += 1
        return self.table[int(token)], state + 1


class TableLM(nn.Module):
    """A language model, `lm(ids [B, T], cache) -> (logits [B, T, V], cache)`, that reads its logits from a table."""

    def __init__(self, table: Tensor):
        super().__init__()
        self.table, self.widths = table, []

    def forward(self, ids: Tensor, cache: int | None = None) -> tuple[Tensor, int]:
        self.widths.append(ids.shape[1])
        return self.table[ids], (cache or 0) + ids.shape[1]


class Constant(nn.Module):
    """A sublayer, `f(x) -> value`, that always answers the same and remembers what it was asked, and how often."""

    def __init__(self, value: Tensor):
        super().__init__()
        self.value, self.seen, self.calls = value, None, 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen, self.calls = x, self.calls + 1
        return self.value.clone()  # whoever asks may go on with it in place


STUBS = {"Constant": Constant, "TableStep": TableStep, "TableLM": TableLM}
