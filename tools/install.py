"""Install `requirements.lock` and then this project into the running environment.

    python tools/install.py

Versions are exact and every file's hash is checked. PyTorch goes first, because builds of one version differ in
what they need: the one for NVIDIA cards wants the CUDA packages of the lock, a CPU build wants none of them, and only
the installed build itself can say which it is. Needs nothing beyond Python's own library and pip.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==.*(?:\n[ \t]+.*)*", flags=re.M)  # `name==version ...`, then hashes, indented
ACCELERATOR = re.compile(r"(nvidia|cuda|triton)\b")
ASK_TORCH = "import importlib.metadata as m; print(*(m.requires('torch') or []), sep='\\n')"


def entries(lock: str) -> list[tuple[str, str]]:
    """The lock's entries as (name, lines). A name stands twice when two Pythons want two versions of it."""
    return [(match[1], match[0]) for match in ENTRY.finditer(lock)]


def pip(verb: str, *arguments: str) -> None:
    """Run pip in this environment; stop with its exit status if it fails."""
    command = [sys.executable, "-m", "pip", verb, "--no-deps", "--disable-pip-version-check", *arguments]
    status = subprocess.run(command).returncode
    if status:
        sys.exit(status)


def install_torch(lines: str, folder: Path) -> None:
    """Fetch the build of PyTorch that pip's own configuration prefers, check its hash, install it.

    pip's `--require-hashes` would always take the index's default build, since links in a local folder of wheels
    carry no hash for it to compare beforehand.
    """
    pip("download", "--dest", str(folder), lines.split()[0])
    (wheel,) = folder.glob("torch-*.whl")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if f"sha256:{found}" not in lines:
        sys.exit(f"{wheel.name} has the hash {found}, which requirements.lock does not list for {lines.split()[0]}")
    pip("install", str(wheel))


def main() -> None:
    locked = entries(LOCK.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        install_torch(dict(locked)["torch"], folder)
        needs = subprocess.run([sys.executable, "-c", ASK_TORCH], capture_output=True, text=True, check=True).stdout
        rest = [(name, lines) for name, lines in locked if name != "torch"]
        if not ACCELERATOR.search(needs):
            rest = [(name, lines) for name, lines in rest if not ACCELERATOR.match(name)]
        wanted = folder / "requirements.txt"
        wanted.write_text("\n".join(lines for _, lines in rest) + "\n", encoding="utf-8")
        pip("install", "--require-hashes", "-r", str(wanted))
    pip("install", "--no-build-isolation", "--quiet", "--editable", str(ROOT))


if __name__ == "__main__":
    main()
