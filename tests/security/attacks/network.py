"""Out of the cage: by TCP, UDP and Unix sockets to a listener that the test has started here, and by other families."""

EARNS = {"attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% top
import os
import socket

for family, kind, address in [
    (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", int("@PORT@"))),
    (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", int("@PORT@"))),
    (socket.AF_UNIX, socket.SOCK_STREAM, "\0@ABSTRACT@"),
    (socket.AF_UNIX, socket.SOCK_STREAM, "@COURSE@/listener"),
    (40, socket.SOCK_STREAM, (2, int("@PORT@"))),
]:
    try:
        with socket.socket(family, kind) as out:
            out.settimeout(1)
            out.connect(address)
            out.send(b"hidden inputs")
            if kind == socket.SOCK_STREAM:
                print("WON", address)
    except (OSError, OverflowError):
        pass
if [line for line in open("/proc/net/dev") if ":" in line and "lo:" not in line] or os.path.exists("/etc/resolv.conf"):
    print("WON: a way out, or somebody to ask for names")
print("tried")
