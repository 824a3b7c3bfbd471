"""Every hand-in ever collected, each in a folder of its own with a receipt: append-only.

ROOT/collected/<pseudonym>/<lab>/<20260928T205959Z>-<first 8 hex of sha256>/<lab>.ipynb + receipt.json
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autograder.files import write_whole
from autograder.term.config import Term

COLLECTED = "collected"
RECEIPT = "receipt.json"


@dataclass(frozen=True)
class HandIn:
    """One notebook as a student (a pseudonym) handed it in; `at` is in UTC, by the server's record, whole seconds.

    `source` is the system that it came from, `original` its name there.
    """

    student: str
    lab: str
    at: datetime
    path: Path
    source: str
    note: str
    sha256: str
    original: str = ""

    def content(self) -> bytes:
        """The notebook's bytes.

        Raises:
            ValueError: they aren't those that were collected.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise ValueError(f"{self.path} can't be read: {error.strerror}") from None
        if digest(content) != self.sha256:
            raise ValueError(f"{self.path} was changed after it was collected: expected SHA-256 {self.sha256}")
        return content


def keep(
    term: Term, pseudonym: str, lab: str, content: bytes, at: datetime, source: str, original: str, note: str = ""
) -> HandIn | None:
    """Keep a hand-in, whole or not at all; None if the same content of the same second is there already.

    Raises:
        ValueError: `at` has no zone.
    """
    if at.tzinfo is None:
        raise ValueError(f"a hand-in at {at}: expected a time with its zone")
    at, sha256 = at.astimezone(UTC).replace(microsecond=0), digest(content)
    place = term.root / COLLECTED / pseudonym / lab / f"{at:%Y%m%dT%H%M%SZ}-{sha256[:8]}"
    if place.exists():
        return None
    place.parent.mkdir(parents=True, exist_ok=True)
    receipt = {"at": at.isoformat(), "source": source, "from": original, "sha256": sha256, "note": note}
    part = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))
    try:
        write_whole(part / f"{lab}.ipynb", content)
        write_whole(part / RECEIPT, json.dumps(receipt, ensure_ascii=False, indent=1) + "\n")
        part.rename(place)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return HandIn(pseudonym, lab, at, place / f"{lab}.ipynb", source, note, sha256, original)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def hand_ins(term: Term, lab: str, pseudonym: str | None = None) -> list[HandIn]:
    """What was handed in for a lab, by one or all, oldest first.

    Raises:
        ValueError: a receipt can't be read.
    """
    students = [term.root / COLLECTED / pseudonym] if pseudonym else folders(term.root / COLLECTED)
    found = [read(place, lab) for student in students for place in folders(student / lab)]
    return sorted(found, key=lambda one: (one.at, one.student, one.path.parent.name))


def folders(place: Path) -> Iterator[Path]:
    """The folders in one; what begins with a dot was broken off while it was written."""
    if place.is_dir():
        yield from sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))


def read(place: Path, lab: str) -> HandIn:
    """The hand-in in a folder, by its receipt."""
    try:
        receipt = json.loads((place / RECEIPT).read_text(encoding="utf-8"))
        at = datetime.fromisoformat(receipt["at"]).astimezone(UTC)
        texts = receipt["source"], receipt["note"], receipt["sha256"], receipt["from"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{place / RECEIPT} can't be read: expected what `collect` wrote there: {error}") from None
    return HandIn(place.parent.parent.name, lab, at, place / f"{lab}.ipynb", *texts)
