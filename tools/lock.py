"""Renew `requirements.lock` from `pyproject.toml`: exact versions and hashes for Linux, macOS and Windows.

    python tools/lock.py [--upgrade] [WHEEL ...]

Versions that the present lock holds stay unless `--upgrade` is given. A WHEEL is another build of a locked version,
such as PyTorch's own CPU build, which the index lists under no such name: its hash is added to its package, and kept
by later renewals while the version stays. No index address is written.
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from install import LOCK, ROOT, entries

COMPILE = [
    *(
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "pyproject.toml",
        "--extra=dev",
        "--universal",
        "--python-version=3.11",
    ),
    *("--generate-hashes", "--no-emit-index-url", "--no-annotate", "--no-header", "--quiet"),
]
HASH = re.compile(r"sha256:[0-9a-f]{64}")


def with_hashes(lines: str, more: set[str]) -> str:
    """A lock entry with these hashes in it too."""
    head = lines.split("\\\n")[0].rstrip()
    return " \\\n".join([head, *(f"    --hash={found}" for found in sorted({*HASH.findall(lines), *more}))])


def main() -> None:
    known: dict[str, set[str]] = {}  # "name==version": hashes
    for _, lines in entries(LOCK.read_text(encoding="utf-8")) if LOCK.exists() else []:
        known[lines.split()[0]] = set(HASH.findall(lines))
    for wheel in (Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")):
        name, version = wheel.name.split("-")[:2]
        package = f"{name}=={version.split('+')[0]}"
        known.setdefault(package, set()).add("sha256:" + hashlib.sha256(wheel.read_bytes()).hexdigest())
    upgrade = ["--upgrade"] if "--upgrade" in sys.argv else []
    subprocess.run([*COMPILE, *upgrade, "--output-file", str(LOCK)], cwd=ROOT, check=True)
    new = [with_hashes(e, known.get(e.split()[0], set())) for _, e in entries(LOCK.read_text(encoding="utf-8"))]
    LOCK.write_text("\n".join(new) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
