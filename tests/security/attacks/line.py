"""No attack, but what many begin with: the line to the judge, as a student's code finds it among the open files."""

EARNS = {}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% line
import json
import os
import socket
import stat
import struct
import sys


def line():
    sockets = [
        fd for fd in range(3, 256) if os.path.exists(f"/proc/self/fd/{fd}") and stat.S_ISSOCK(os.fstat(fd).st_mode)
    ]
    return socket.socket(fileno=os.dup(sockets[0]))


def asked():
    """The number of the question that is being answered, from the far end's own frame."""
    frame = sys._getframe()
    while frame:
        if isinstance(frame.f_locals.get("request"), dict):
            return frame.f_locals["request"]["id"]
        frame = frame.f_back


def framed(message, body=b""):
    text = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack("!II", len(text), len(body)) + text + body


def forge(*frames):
    with line() as out:
        out.sendall(b"".join(frames))
    print("tried", asked())


print("tried", line().fileno() > 2)
