"""What may be written is tried: the environment, the package, the cage's own files, then other users' folders."""

EARNS = {"attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% top
import os
import sys
import sysconfig

import lecturekit
import torch

places = ["/", "/usr/bin", "/etc", "/zygote.py", sysconfig.get_paths()["purelib"], os.path.dirname(torch.__file__)]
places += [
    os.path.dirname(lecturekit.__file__),
    "/far",
    "/proc/sys/kernel",
    "/dev",
    *(place for place in sys.path if place.startswith("/")),
]
for place in places:
    target = f"{place}/numpy.py" if os.path.isdir(place) else place
    try:
        open(target, "a").close()
        print("WON", target)
    except OSError:
        pass
for change in (
    lambda: os.chmod("/far", 0o777),
    lambda: os.symlink("/", "/far/x"),
    lambda: os.rename("/far", "/student/far"),
):
    try:
        change()
        print("WON")
    except OSError:
        pass
print("tried", len(places))
