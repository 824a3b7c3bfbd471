"""What an archive or a folder of hand-ins holds, as names and bytes: nothing is written under a name found in one.

Every entry is either readable or has a reason why it isn't; one bad entry never stops the rest. An archive inside
another is opened in memory, and its entries are called `outer.zip/inner.ipynb`.
"""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

from autograder.intake import MOST_BYTES, Refused, read_file

MOST_ENTRIES = 20_000  # in an archive or a folder; a class of 300 hands in some thousand files
MOST_WITHIN = 1000  # in an archive inside another, which one student made
MOST_ARCHIVES = 10  # of them archives again, each of which is unpacked to look into it
TIME = (2000, 1, 1, 0, 0, 0)  # of every entry that is packed here, so that the same files make the same archive
DEEPEST = 2  # archives in archives
CENTRAL = b"PK\x01\x02"  # begins the description of each entry, and each costs memory
BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError)


@dataclass(frozen=True)
class Entry:
    """One file. `read` gives its bytes, and raises Refused; call it before the next entry is asked for.

    `why` is the reason where it is known without reading that there is nothing to read.
    """

    name: str
    read: Callable[[], bytes]
    why: str = ""

    @property
    def base(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def litter(self) -> bool:
        """Did a program leave it there, not a person?"""
        parts = self.name.split("/")
        return any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1] == "Thumbs.db"


def walk(path: Path) -> Iterator[Entry]:
    """The files of an archive, or below a folder such as an archive unpacked, in the same order each time.

    Raises:
        ValueError: it is neither, or it is broken, or has more entries than anyone hands in.
    """
    if path.is_dir():
        yield from tree(path)
        return
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            if len(archive.infolist()) > MOST_ENTRIES:
                raise Refused(f"It has more than {MOST_ENTRIES} entries.")
            yield from unzipped(archive, "", 0)
    except FileNotFoundError:
        raise ValueError(f"no {path}: expected a ZIP archive, or a folder with what was in one") from None
    except Refused as reason:
        raise ValueError(f"{path}: {reason}") from None
    except BROKEN as error:
        raise ValueError(f"{path} can't be read as a ZIP archive: {error}: download it again") from None


def tree(root: Path) -> Iterator[Entry]:
    """The files below a folder; links are named and not followed. Who fills one of its folders fills no other's."""
    for top in sorted(root.iterdir()):
        if top.is_symlink() or not top.is_dir():
            yield from opened(top.name, lambda path=top: content_of(path), 0)
        else:
            yield from below(root, top)


def below(root: Path, top: Path) -> Iterator[Entry]:
    """The files in one folder of `root`."""
    count, closed = 0, []
    for place, folders, files in os.walk(top, onerror=closed.append):
        folders.sort()
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in sorted(files + links):
            path = Path(place) / name
            count += 1
            if count > MOST_ENTRIES:
                yield refused(f"{top.name}/…", f"The folder has more than {MOST_ENTRIES} files.")
                return
            yield from opened(path.relative_to(root).as_posix(), lambda path=path: content_of(path), 0)
    for error in closed:
        name = Path(error.filename).relative_to(root).as_posix()
        yield refused(f"{name}/…", f"The folder can't be read: {error.strerror}.")


def content_of(path: Path) -> bytes:
    """A regular file's bytes."""
    try:
        os.fsencode(path).decode("utf-8")
        return read_file(path, MOST_BYTES)
    except UnicodeDecodeError:
        raise Refused("Its name isn't in UTF-8.") from None
    except OSError as error:
        raise Refused(f"It can't be read: {error.strerror}.") from None


def unzipped(archive: zipfile.ZipFile, inside: str, depth: int) -> Iterator[Entry]:
    """The entries of an open archive."""
    crowded = depth and sum(is_archive(info.filename) for info in archive.infolist()) > MOST_ARCHIVES
    for info in archive.infolist():
        name = name_of(info)
        if name.endswith("/"):
            continue
        trouble = trouble_of(info, name)
        if crowded and is_archive(name):
            trouble = f"It is one of more than {MOST_ARCHIVES} archives in an archive."
        if trouble:
            yield refused(inside + name, trouble)
        else:
            yield from opened(inside + name, lambda info=info: content(archive, info), depth)


def opened(name: str, read: Callable[[], bytes], depth: int) -> Iterator[Entry]:
    """A file; or, of an archive, the files in it."""
    entry = Entry(name, read)
    if not is_archive(name) or entry.litter:
        yield entry
        return
    try:
        if depth == DEEPEST:
            raise Refused(f"It is an archive within {DEEPEST + 1} others.")
        data = read()
        if data.count(CENTRAL) > MOST_WITHIN:
            raise Refused(f"It is an archive of more than {MOST_WITHIN} entries.")
        archive = zipfile.ZipFile(BytesIO(data))
    except Refused as reason:
        yield refused(name, str(reason))
    except BROKEN:
        yield refused(name, "It is called .zip, and isn't a whole ZIP archive.")
    else:
        with archive:
            yield from unzipped(archive, f"{name}/", depth + 1)


def is_archive(name: str) -> bool:
    return name.casefold().endswith(".zip")


def refused(name: str, reason: str) -> Entry:
    """An entry that isn't to be read."""

    def read() -> bytes:
        raise Refused(reason)

    return Entry(name.replace("\0", "␀"), read, reason)


def trouble_of(info: zipfile.ZipInfo, name: str) -> str:
    """Why an entry isn't even looked into; "" if it is."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if "\\" in name or "\0" in name or name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
        return "Its name leads out of the archive."
    if kind not in (0, stat.S_IFREG):
        return "It is a link." if kind == stat.S_IFLNK else "It is no regular file."
    if info.flag_bits & 1:
        return "It is encrypted."
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "It is packed in a way that isn't read here: expected an ordinary ZIP archive."
    return ""


def content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """An entry's bytes: no more are unpacked than are taken, whatever it says of its size."""
    if info.file_size > MOST_BYTES:
        raise Refused(f"It unpacks to {info.file_size / 2**20:.0f} MB; at most {MOST_BYTES >> 20} are taken.")
    try:
        with archive.open(info) as file:
            return bounded(file)
    except BROKEN as error:
        raise Refused(f"It is damaged in the archive: {error}.") from None


def bounded(file: IO[bytes]) -> bytes:
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Refused(f"It unpacks to more than {MOST_BYTES >> 20} MB.")
    return data


def name_of(info: zipfile.ZipInfo) -> str:
    """The entry's name; one without the mark of UTF-8 is in the code page of the system that packed it.

    Python reads such a name as cp437. Where a Russian Windows wrote it, its words are Cyrillic in cp866 or cp1251.
    """
    name = info.orig_filename
    if info.flag_bits & 0x800 or name.isascii():
        return name
    try:
        raw = name.encode("cp437")
    except UnicodeEncodeError:
        return name
    for encoding in ("utf-8", "cp866", "cp1251"):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8" or cyrillic(text):
            return text
    return name


def cyrillic(text: str) -> bool:
    """Is what isn't ASCII all Cyrillic letters, in words without a Latin one?"""
    words = "".join(letter if letter.isalpha() else " " for letter in text).split()
    strange = [letter for letter in text if not letter.isascii()]
    return all(letter.isalpha() and is_cyrillic(letter) for letter in strange) and all(
        len({is_cyrillic(letter) for letter in word}) == 1 for word in words
    )


def is_cyrillic(letter: str) -> bool:
    return "Ѐ" <= letter <= "ӿ"


def packed(files: dict[str, bytes]) -> bytes:
    """A ZIP archive of these files by name: the same files make the same bytes."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, TIME)
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED, 6)
    return out.getvalue()
