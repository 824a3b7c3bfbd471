"""What this machine can isolate and what it can't, found out by starting a cage and looking around in it.

`look` runs in there, from a copy of this file, so that this file needs the standard library alone to be imported.
"""

import contextlib
import errno
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMESPACES = ("mnt", "pid", "net", "ipc", "uts")
FEW = 8  # processes that the trial inmate may have
SECONDS = 60
NEWUSER = 0x10000000

PACKAGE = "install the package bubblewrap (apt-get install bubblewrap, dnf install bubblewrap)"
CONTAINERS = (
    "Docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    " --security-opt systempaths=unconfined, and as root --cap-add SYS_ADMIN --cap-add SYS_PTRACE",
    "Podman: --security-opt seccomp=unconfined --security-opt unmask=ALL --security-opt label=disable",
    "Kubernetes: securityContext with seccompProfile and appArmorProfile of type Unconfined, procMount: Unmasked, which"
    " asks for hostUsers: false in the pod; or privileged: true on a node that does nothing else",
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. Where a `needed` one doesn't hold, there is no cage."""

    what: str
    holds: bool
    found: str
    remedy: str = ""
    needed: bool = True


# ---- in the cage -----------------------------------------------------------------------------------------------------
def look(end: socket.socket) -> None:
    """Tell what an inmate sees and may do, and stay until there is nobody to tell."""
    seen: dict[str, Any] = {"namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES}}
    with open("/proc/self/status") as status:
        seen["status"] = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    seen["processes"] = sum(name.isdigit() for name in os.listdir("/proc"))
    seen["uid"] = os.getuid()
    seen["interfaces"] = [name for _, name in socket.if_nameindex()] if routed() else []
    seen["unshare"] = errno_of_unshare()
    seen["written"] = [place for place in ("/", "/usr", sys.prefix, "/dev") if os.access(place, os.W_OK)]
    seen["scratch"] = os.statvfs(".").f_blocks * os.statvfs(".").f_frsize
    seen["forked"] = fork_until_refused()
    end.sendall(json.dumps(seen).encode() + b"\n")
    end.recv(1)


def routed() -> bool:
    """Whether a datagram could leave: asking for a route sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("127.0.0.1", 9))
        return True
    return False


def errno_of_unshare() -> int:
    """What the kernel answers to one that wants a user namespace, or 0 if it gives it."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    return ctypes.get_errno() if libc.unshare(NEWUSER) else 0


def fork_until_refused() -> int:
    """How many processes this one may start under a limit of a few, far below where the watcher would end it."""
    import resource

    resource.setrlimit(resource.RLIMIT_NPROC, (FEW, resource.getrlimit(resource.RLIMIT_NPROC)[1]))
    ours, theirs = os.pipe()
    started = 0
    with contextlib.suppress(BlockingIOError):
        while started < 2 * FEW:
            if os.fork() == 0:
                os.close(theirs)
                os.read(ours, 1)
                os._exit(0)
            started += 1
    os.close(theirs)
    return started


# ---- outside ---------------------------------------------------------------------------------------------------------
def examine() -> list[Finding]:
    """Look at this machine, then start a cage and have it looked at from inside."""
    if sys.platform != "linux":
        remedy = "grade on Linux, or in a virtual machine with it; --no-cage runs code without a cage"
        return [Finding("Linux", False, f"this is {platform.system()}, whose kernel has no namespaces", remedy)]
    findings = [bubblewrap(), user(), namespaces(), cgroup()]
    return findings + cage()


def bubblewrap() -> Finding:
    path = shutil.which("bwrap")
    if not path:
        return Finding("bubblewrap", False, "bwrap is not installed", PACKAGE)
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return Finding("bubblewrap", done.returncode == 0, f"{done.stdout.strip()} at {path}", PACKAGE)


def user() -> Finding:
    from autograder.cage import privileged

    if privileged():
        return Finding("separate users", True, "root: every inmate gets a user number of its own", needed=False)
    return Finding(
        "separate users",
        False,
        f"user {os.geteuid()} without the rights of root: inmates are this user, each in a user namespace of its own",
        "nothing must be done; as root they would have different users as well",
        needed=False,
    )


def namespaces() -> Finding:
    """The switches that forbid user namespaces, which only root does without."""
    from autograder.cage import privileged

    switches = {
        "kernel.unprivileged_userns_clone": "1",
        "user.max_user_namespaces": None,
        "kernel.apparmor_restrict_unprivileged_userns": "0",
    }
    found, remedies = [], []
    for name, wanted in switches.items():
        with contextlib.suppress(OSError):
            value = Path("/proc/sys", name.replace(".", "/")).read_text().strip()
            found.append(f"{name} = {value}")
            if value == "0" if wanted is None else value != wanted:
                remedies.append(f"sysctl -w {name}={wanted or 15000}")
    said = ", ".join(found) or "no switch forbids them"
    if privileged():
        return Finding("user namespaces", not remedies, f"not needed by root ({said})", needed=False)
    return Finding("user namespaces", not remedies, said, "; ".join(remedies), needed=False)


def cgroup() -> Finding:
    """Memory is bounded without one; a person who has one may still want to know."""
    with open("/proc/self/cgroup") as file:
        groups = [line.rstrip("\n").split(":", 2) for line in file]
    version = "v1" if any("memory" in names.split(",") for _, names, _ in groups) else "v2"
    if not groups or (version == "v2" and not Path("/sys/fs/cgroup/cgroup.controllers").exists()):
        version = "none"
    text = "memory is bounded by each cage's watcher and by RLIMIT_DATA"
    return Finding("memory", True, f"{text} (control groups: {version}, not used)", needed=False)


def cage() -> list[Finding]:
    """Start one, and compare what it sees with what there is."""
    from autograder.cage import Bounds, CageError, View, Zygote

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(__file__, Path(folder) / "doctor.py")
        try:
            with Zygote("doctor:look", View({"/doctor": Path(folder)}, path=("/doctor",))) as zygote:
                seen = ask(zygote, Bounds(memory=2**28))
                held = bounded(zygote)
        except (CageError, OSError, ValueError) as error:
            return [Finding("a cage", False, str(error), "see below for containers")]
    return [Finding("a cage", True, "starts, and an inmate can be forked in it"), *compare(seen), held]


def ask(zygote: Any, bounds: Any) -> dict[str, Any]:
    """What an inmate sees."""
    ours, theirs = socket.socketpair()
    with ours, zygote.fork([theirs], {}, bounds):
        ours.settimeout(SECONDS)
        with ours.makefile() as lines:
            return json.loads(lines.readline())


def bounded(zygote: Any) -> Finding:
    """Whether the watcher ends one that has more processes than it may."""
    from autograder.cage import Bounds

    ours, theirs = socket.socketpair()
    with ours, zygote.fork([theirs], {}, Bounds(memory=2**28, processes=1)) as inmate:
        ending = inmate.wait(SECONDS)
    reason = ending.reason if ending else "nothing"
    return Finding("the watcher", reason == "processes", f"an inmate with too many processes was ended by: {reason}")


def compare(seen: dict[str, Any]) -> list[Finding]:
    """What was seen in a cage, and whether it is as it should be."""
    shared = [name for name, link in seen["namespaces"].items() if link == os.readlink(f"/proc/self/ns/{name}")]
    status = seen["status"]
    rights = [name for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(status[name], 16)]
    quiet = status["NoNewPrivs"] == "1" and not rights
    filtered = status["Seccomp"] == "2" and seen["unshare"] == errno.EPERM
    return [
        Finding(
            "namespaces",
            not shared,
            f"shared with the grader: {', '.join(shared)}" if shared else f"{', '.join(NAMESPACES)} of its own",
        ),
        Finding("processes", seen["processes"] <= 2, f"sees {seen['processes']}: itself and its watcher"),
        Finding("network", not seen["interfaces"], ", ".join(seen["interfaces"]) or "none, not even loopback"),
        Finding("files", not seen["written"], f"can write {', '.join(seen['written']) or 'its scratch space alone'}"),
        Finding("privileges", quiet, "none, and no way to gain any" if quiet else f"has {', '.join(rights)}"),
        Finding("system calls", filtered, "filtered" if filtered else "the filter is not in force"),
        Finding("process limit", seen["forked"] < FEW, f"{seen['forked']} more could be started where {FEW} may run"),
    ]


def report() -> tuple[str, bool]:
    """All findings as text for a screen, and whether students can be caged here."""
    findings = examine()
    well = all(finding.holds for finding in findings if finding.needed)
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        mark = "yes" if finding.holds else "NO " if finding.needed else "no "
        lines.append(f"{mark}  {finding.what:{width}}  {finding.found}")
        if not finding.holds and finding.remedy:
            lines.append(f"     {'':{width}}  -> {finding.remedy}")
    if well:
        lines += ["", "Students' code can be caged on this machine."]
    else:
        lines += ["", "Students' code can NOT be caged on this machine: grading refuses to run it without --no-cage."]
        lines += ["In a container these settings forbid it, and these allow it:", *(f"  {text}" for text in CONTAINERS)]
    return "\n".join(lines), well
