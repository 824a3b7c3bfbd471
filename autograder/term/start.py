"""The three files that a term starts from."""

import secrets
from pathlib import Path

from autograder.term.config import FILE

EXAMPLE = Path(__file__).with_name("course.example.toml")
ROSTER = "id,name,email,group,team,canvas,moodle,left\nanna,Анна Иванова,anna@example.org,,,,,\n"


def start(root: Path, dry_run: bool = False) -> list[Path]:
    """Write course.toml, roster.csv and a secret that only its owner can read; returns their paths.

    Raises:
        ValueError: one of them is there already; then nothing is written.
    """
    texts = {
        FILE: EXAMPLE.read_text(encoding="utf-8"),
        "roster.csv": ROSTER,
        "secret.txt": secrets.token_hex(16) + "\n",
    }
    paths = [root / name for name in texts]
    for path in paths:
        if path.exists():
            raise ValueError(f"{path} is there already: expected a folder without it, since nothing is overwritten")
    for path, text in zip(paths, texts.values(), strict=True):
        if not dry_run:
            root.mkdir(parents=True, exist_ok=True)
            path.touch(0o600 if path.name == "secret.txt" else 0o666, exist_ok=False)
            path.write_text(text, encoding="utf-8")
    return paths
