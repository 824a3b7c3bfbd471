"""More rights by a user namespace, a mount, another root, a program of root's or a capability."""

EARNS = {"attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% top
import ctypes
import os
import subprocess

libc = ctypes.CDLL(None, use_errno=True)
before = os.getuid(), os.getpid()
tries = {
    "unshare": lambda: libc.unshare(0x10000000),
    "clone": lambda: libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0),
    "setns": lambda: libc.setns(os.open("/proc/1/ns/user", os.O_RDONLY), 0),
    "mount": lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
    "chroot": lambda: os.chroot("/tmp"),
    "root": lambda: os.setuid(0),
    "groups": lambda: os.setgroups([0]),
    "device": lambda: os.mknod("disk", 0o60666, os.makedev(8, 0)),
    "program": lambda: subprocess.run(["unshare", "-U", "true"], stderr=subprocess.DEVNULL).returncode and -1,
}
for name, attempt in tries.items():
    try:
        if attempt() != -1 and os.getpid() == before[1]:
            print("WON", name)
    except OSError:
        pass
if (os.getuid(), os.getpid()) != before or os.getuid() == 0:
    print("WON: another user")
if any(line.split()[1].strip("0") for line in open("/proc/self/status") if line.startswith("Cap")):
    print("WON: capabilities")
print("tried")
