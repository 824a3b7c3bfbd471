"""The system calls that a cage refuses, as a program for the kernel's filter (`man 2 seccomp`, classic BPF).

Namespaces, a user of its own and empty capabilities hold an inmate already. The filter takes away what reaches into
rarely used corners of the kernel, the ways to make namespaces (a process would have capabilities again in there), what
would touch a neighbour of the same user, and the ways to hold memory that no process maps, since nobody would count it.
Everything else is allowed: torch, numpy, threads, `subprocess`, `multiprocessing` and matplotlib notice nothing.

The numbers are of linux/unistd.h, those of x86_64 and of aarch64, which has the generic table.
"""

import errno
import platform
import struct

# fmt: off
REFUSED = {  # name: (x86_64, aarch64); the caller gets EPERM
    # other namespaces, other roots, other mounts
    "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "pivot_root": (155, 41),
    "mount": (165, 40), "umount2": (166, 39), "mount_setattr": (442, 442), "move_mount": (429, 429),
    "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "statmount": (457, 457), "listmount": (458, 458),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # corners of the kernel
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "fanotify_init": (300, 262),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "modify_ldt": (154, None),
    "lookup_dcookie": (212, 18), "syslog": (103, 116), "_sysctl": (156, None), "sysfs": (139, None),
    "uselib": (134, None), "ustat": (136, None), "vserver": (236, None), "nfsservctl": (180, 42),
    "afs_syscall": (183, None), "query_module": (178, None), "get_kernel_syms": (177, None),
    # the machine
    "init_module": (175, 105), "finit_module": (313, 273), "create_module": (174, None),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162),
    "vhangup": (153, 58), "iopl": (172, None), "ioperm": (173, None),
}
ABSENT = {  # ENOSYS, as from a kernel that hasn't got them: callers then do without
    "clone3": (435, 435),  # its flags lie in memory, where no filter can look; clone's can be seen
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # memory that no process needs to map
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180),
}
# fmt: on
NEWEST = 462  # the last call that was looked at; what came later is absent too

CLONE, SOCKET, SOCKETPAIR, IOCTL = (56, 220), (41, 198), (53, 199), (16, 29)
PERSONALITY, MMAP, PRLIMIT, SETPRIORITY = (135, 92), (9, 222), (302, 261), (141, 140)
IOPRIO_SET, SCHED_SETAFFINITY, SCHED_SETATTR = (251, 30), (203, 122), (314, 274)
SCHED_SETPARAM, SCHED_SETSCHEDULER = (142, 118), (144, 119)

NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET
FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6: a network namespace doesn't cut off AF_VSOCK
TIOCSTI, TIOCLINUX = 0x5412, 0x541C  # write into a terminal's input
MAP_SHARED, MAP_ANONYMOUS, MAP_HUGETLB = 0x1, 0x20, 0x40000
EVERYONE = 2  # PRIO_USER; ioprio_set's is 3

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the tables, AUDIT_ARCH
X32 = 0x40000000

LD, AND, JEQ, JGE, JGT, JSET, RET = 0x20, 0x54, 0x15, 0x35, 0x25, 0x45, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCH, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def program(machine: str | None = None) -> bytes:
    """The filter for a machine's architecture, by default this one's: an array of struct sock_filter.

    Raises:
        ValueError: there is no table for it.
    """
    machine = machine or platform.machine()
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(machine, machine)
    if machine not in ARCHITECTURES:
        raise ValueError(f"no table of system calls for {machine!r}, only for {', '.join(ARCHITECTURES)}")
    column, architecture = ARCHITECTURES[machine]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions(column, architecture))


def instructions(column: int, architecture: int) -> list[Instruction]:
    """The program: the architecture, the numbers that nobody knows, then one block for each call with a rule."""
    code = [(LD, 0, 0, ARCH), (JEQ, 1, 0, architecture), answer(KILL), (LD, 0, 0, NUMBER)]
    code += [(JGE, 0, 1, X32), answer(ERRNO | errno.ENOSYS), (JGT, 0, 1, NEWEST), answer(ERRNO | errno.ENOSYS)]
    for numbers, block in rules():
        if numbers[column] is not None:
            code += [(JEQ, 0, len(block), numbers[column]), *block]
    return [*code, answer(ALLOW)]


def rules() -> list[tuple[tuple[int, int | None], list[Instruction]]]:
    """(its number on either architecture, what decides) for each call with a rule."""
    refuse, absent = [answer(ERRNO | errno.EPERM)], [answer(ERRNO | errno.ENOSYS)]
    found = [(numbers, refuse) for numbers in REFUSED.values()]
    found += [(numbers, absent) for numbers in ABSENT.values()]
    found.append((CLONE, [low(0), (JSET, 0, 1, NEW_NAMESPACES), *refuse, answer(ALLOW)]))
    found += [(call, only(0, FAMILIES, errno.EAFNOSUPPORT)) for call in (SOCKET, SOCKETPAIR)]
    found.append((IOCTL, [low(1), (JEQ, 1, 0, TIOCSTI), (JEQ, 0, 1, TIOCLINUX), *refuse, answer(ALLOW)]))
    found.append((PERSONALITY, only(0, (0, 0xFFFFFFFF), errno.EPERM)))
    # shared memory without a name stays after its pages were unmapped, and then counts for nobody; huge pages never do
    anonymous = MAP_SHARED | MAP_ANONYMOUS
    shared = [low(3), (JSET, 3, 0, MAP_HUGETLB), (AND, 0, 0, anonymous), (JEQ, 1, 0, anonymous), answer(ALLOW)]
    found.append((MMAP, [*shared, *refuse]))
    # without root the watcher, process 1, is of the inmate's own user
    first = [low(0), (JEQ, 0, 1, 1), *refuse, answer(ALLOW)]
    found += [(call, first) for call in (PRLIMIT, SCHED_SETAFFINITY, SCHED_SETATTR, SCHED_SETPARAM, SCHED_SETSCHEDULER)]
    whose = [low(0), (JGE, 2, 0, EVERYONE), low(1), (JEQ, 0, 1, 1), *refuse, answer(ALLOW)]
    found += [(SETPRIORITY, whose), (IOPRIO_SET, [low(0), (JGE, 2, 0, EVERYONE + 1), *whose[2:]])]
    return found


def answer(value: int) -> Instruction:
    return (RET, 0, 0, value)


def low(argument: int) -> Instruction:
    """Load an argument's low half: all that the kernel takes of these, on machines whose low half comes first."""
    return (LD, 0, 0, ARGUMENTS + 8 * argument)


def only(argument: int, values: tuple[int, ...], error: int) -> list[Instruction]:
    """Allow the call with these values of an argument."""
    tests = [(JEQ, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [low(argument), *tests, answer(ERRNO | error), answer(ALLOW)]
