"""The course is looked for: sources, solutions, hints, the gradebook, other submissions, the grader's own files."""

EARNS = {"attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% top
import glob
import os
import sys

course, checkout = "@COURSE@", "@CHECKOUT@"
places = [course, f"{course}/neighbour", "/etc/shadow", "/etc/machine-id", "/var", "/home", "/sys", "/run", "/mnt"]
places += [f"{checkout}/{name}" for name in (".git", "solutions", "labs", "autograder", "lecturekit", "gradebook.db")]
for place in places:
    for look in (os.listdir, open):
        try:
            print("WON", look(place))
        except OSError:
            pass
for top, folders, names in os.walk("/"):
    folders[:] = [
        name for name in folders if os.path.join(top, name) not in ("/usr", "/proc", sys.prefix, sys.base_prefix)
    ]
    if loot := [name for name in names if name.endswith((".ipynb", ".db", ".html")) or name.startswith("lab")]:
        print("WON", top, loot)
for pattern in ("**/hints/*.json", "**/judge.py", "**/runner.py", "**/lab*_mistakes.py", "**/gradebook*"):
    for place in sys.path:
        loot = glob.glob(f"{place}/lecturekit/{pattern}", recursive=True) + glob.glob(f"{place}/autograder/{pattern}")
        if place and loot:
            print("WON", loot)
print("tried", len(places))
