"""The filter, run by a simulator of the kernel's small machine; `test_cage` tries it in the kernel itself."""

import errno
import struct

import pytest

from autograder import seccomp

MACHINES = ("x86_64", "aarch64")
ALLOWED, KILLED = "allowed", "killed"


def decide(program, number, *arguments, architecture):
    """What the program answers to a call: "allowed", "killed", or an error's number."""
    arguments = [value & (2**64 - 1) for value in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments)
    code, place, accumulator = list(struct.iter_unpack("=HBBI", program)), 0, 0
    while True:
        operation, true, false, constant = code[place]
        place += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif operation == 0x54:
            accumulator &= constant
        elif operation == 0x06:
            action, value = constant & 0xFFFF0000, constant & 0xFFFF
            return {0x7FFF0000: ALLOWED, 0x80000000: KILLED, 0x00050000: value}[action]
        else:
            tests = {0x15: accumulator == constant, 0x25: accumulator > constant, 0x35: accumulator >= constant}
            tests[0x45] = bool(accumulator & constant)
            place += true if tests[operation] else false


@pytest.fixture(params=MACHINES)
def call(request):
    """Ask this machine's program about a call: its numbers, then its arguments."""
    column, architecture = seccomp.ARCHITECTURES[request.param]
    program = seccomp.program(request.param)
    return lambda numbers, *arguments: decide(program, numbers[column], *arguments, architecture=architecture)


@pytest.mark.parametrize("machine", MACHINES)
def test_each_listed_call_is_refused_and_the_others_are_not(machine):
    column, architecture = seccomp.ARCHITECTURES[machine]
    program = seccomp.program(machine)
    refused = {numbers[column] for numbers in seccomp.REFUSED.values()} - {None}
    absent = {numbers[column] for numbers in seccomp.ABSENT.values()} - {None}
    assert not refused & absent
    assert len(program) // 8 < 4096  # the kernel's BPF_MAXINSNS
    for number in range(2000):
        answer = decide(program, number, architecture=architecture)
        if number in refused:
            assert answer == errno.EPERM, number
        elif number in absent or number > seccomp.NEWEST:
            assert answer == errno.ENOSYS, number
        elif number in (seccomp.SOCKET[column], seccomp.SOCKETPAIR[column]):
            assert answer == errno.EAFNOSUPPORT
        else:
            assert answer == ALLOWED, number


def test_numbers_are_the_kernels_own():
    """Against the header, where this machine has one."""
    names = seccomp.REFUSED | seccomp.ABSENT
    upper = ("CLONE", "SOCKET", "SOCKETPAIR", "IOCTL", "PERSONALITY", "MMAP", "SETPRIORITY", "IOPRIO_SET")
    names |= {name.lower(): getattr(seccomp, name) for name in upper} | {"prlimit64": seccomp.PRLIMIT}
    names |= {n.lower(): getattr(seccomp, n) for n in dir(seccomp) if n.startswith("SCHED_SET")}
    tables = ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm-generic/unistd.h"]
    for column, path in enumerate(tables):
        try:
            with open(path) as file:
                words = [line.split() for line in file if line.startswith("#define __NR")]
        except FileNotFoundError:
            pytest.skip(f"no {path}: it is in the package linux-libc-dev")
        table = {}
        for _, name, value, *_ in words:
            if value.isdigit():
                table.setdefault(name.removeprefix("__NR3264_").removeprefix("__NR_"), int(value))
        for name, numbers in names.items():
            if name in table:
                assert numbers[column] == table[name], name
            elif numbers[column] is not None:
                assert numbers[column] > max(n for n in table.values() if n < 2**30) - 2, name


@pytest.mark.parametrize("machine", MACHINES)
def test_another_architecture_is_killed_and_x32_is_absent(machine):
    program, (_, own) = seccomp.program(machine), seccomp.ARCHITECTURES[machine]
    for architecture in (0x40000003, 0x40000028, *(a for _, a in seccomp.ARCHITECTURES.values())):
        assert decide(program, 0, architecture=architecture) == (ALLOWED if architecture == own else KILLED)
    for number in (0x40000000, 0x40000000 + 56, 0xFFFFFFFF):
        assert decide(program, number, architecture=own) == errno.ENOSYS


def test_an_unknown_machine_is_said():
    with pytest.raises(ValueError, match="riscv64"):
        seccomp.program("riscv64")


def test_threads_and_processes_may_be_cloned_but_no_namespace(call):
    assert call(seccomp.CLONE, 0x3D0F00) == ALLOWED  # a thread, as glibc starts one
    assert call(seccomp.CLONE, 0x1200011) == ALLOWED  # fork
    for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert call(seccomp.CLONE, bit | 17) == errno.EPERM


def test_sockets_of_three_families(call):
    for numbers in (seccomp.SOCKET, seccomp.SOCKETPAIR):
        for family in range(64):
            assert call(numbers, family) == (ALLOWED if family in (1, 2, 10) else errno.EAFNOSUPPORT)
        assert call(numbers, 2**32 + 40) == errno.EAFNOSUPPORT  # the kernel takes the low half: AF_VSOCK


def test_no_keys_are_typed_into_a_terminal(call):
    assert call(seccomp.IOCTL, 0, 0x5412) == call(seccomp.IOCTL, 0, 0x541C) == errno.EPERM
    assert call(seccomp.IOCTL, 0, 0x5412 + 2**32) == errno.EPERM
    assert call(seccomp.IOCTL, 0x5412, 0x5401) == ALLOWED


def test_memory_that_nobody_counts(call):
    private, shared, anonymous = 0x02, 0x01, 0x20
    assert call(seccomp.MMAP, 0, 4096, 3, private | anonymous, -1) == ALLOWED
    assert call(seccomp.MMAP, 0, 4096, 3, shared, 5) == ALLOWED  # a file's
    assert call(seccomp.MMAP, 0, 4096, 3, private | anonymous | 0x4022, -1) == ALLOWED
    for flags in (shared | anonymous, 0x03 | anonymous, private | anonymous | 0x40000, shared | 0x40000):
        assert call(seccomp.MMAP, 0, 4096, 3, flags, -1) == errno.EPERM


def test_the_watcher_is_left_alone(call):
    assert call(seccomp.PRLIMIT, 0, 7) == call(seccomp.PRLIMIT, 2, 7) == ALLOWED
    assert call(seccomp.PRLIMIT, 1, 0) == errno.EPERM
    assert call(seccomp.SCHED_SETAFFINITY, 1) == errno.EPERM
    for numbers, process, everyone in ((seccomp.SETPRIORITY, 0, 2), (seccomp.IOPRIO_SET, 1, 3)):
        assert call(numbers, process, 0) == call(numbers, process, 2) == ALLOWED
        assert call(numbers, process, 1) == call(numbers, everyone, 0) == errno.EPERM


def test_the_personality_may_be_asked_for(call):
    assert call(seccomp.PERSONALITY, 0xFFFFFFFF) == call(seccomp.PERSONALITY, 0) == ALLOWED
    assert call(seccomp.PERSONALITY, 0x0040000) == errno.EPERM  # ADDR_NO_RANDOMIZE
