"""Similar submissions of a lab: a lead for a human, never a verdict.

copydetect compares what students wrote with each other and with lecturekit, names of variables and order of functions
aside. What the lab's release has is nobody's copy, and neither is lecturekit's text when two students are compared:
who both know it need not know each other. All runs of 25 characters count, not a sample, so that the same class gives
the same leads.
"""

import csv
import io
import itertools
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from autograder.build import ROOT
from autograder.feedback import environment
from autograder.files import write_whole
from autograder.intake import BuiltLab, Submission, collect, grade_id, load_built, plan, role
from autograder.report import harmless
from autograder.term.config import Term
from autograder.term.page import columns
from autograder.term.roster import Roster

LEAD = "A lead for a human, never a verdict: talk to the students before you think anything."
OURS = "lecturekit"
RUN = 25  # characters that must be alike in a row, names as one letter; copydetect's own default
LEAST = 250  # such characters of one's own, below which a share says nothing
MOST = 200_000  # characters of a submission that are compared; a lab's own has below 100,000
MOST_SHOWN = 50  # leads with their code side by side, and on a screen
MOST_LISTED = 1000  # on the page; the table has all
AROUND = 2  # lines around what is alike
STEP = 5  # per cent, of the distribution


@dataclass(frozen=True)
class Text:
    """Code in its parts, (name, source): a student's cells in the lab's order, or lecturekit's modules."""

    parts: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, parts: Iterable[tuple[str, str]]) -> "Text":
        """Parts with something in them, as pygments would clean them: places in its tokens are places in these."""
        clean = ((name, source.replace("\r\n", "\n").replace("\r", "\n").strip("\n")) for name, source in parts)
        return cls(tuple((name, source) for name, source in clean if source))

    def __str__(self) -> str:
        return "\n\n".join(source for _, source in self.parts)

    def split(self, alike: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
        """Each part with its share of `alike`, a flag for each character of the whole."""
        begin = 0
        for name, source in self.parts:
            yield name, source, alike[begin : begin + len(source)]
            begin += len(source) + 2


@dataclass(frozen=True)
class Entry:
    """A submission, or lecturekit, with copydetect's fingerprint of what is its own in it."""

    who: str
    text: Text
    fingerprint: Any

    @property
    def too_little(self) -> str:
        """Why it can't be compared, or ""."""
        return "Too little is written to be compared." if self.fingerprint.token_coverage < LEAST else ""


@dataclass(frozen=True, eq=False)
class Side:
    """One of two that are alike: the share of its own code that the other has, and where, by copydetect's slices."""

    who: str
    share: float
    text: Text
    where: np.ndarray

    @property
    def cells(self) -> list[str]:
        return [name for name, _, _ in self.parts()]

    def parts(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """The parts in which something is alike, each with a flag for each character."""
        alike = np.zeros(len(str(self.text)), dtype=bool)
        for begin, end in zip(*self.where.astype(int), strict=True):
            alike[begin:end] = True
        return (part for part in self.text.split(alike) if part[2].any())

    def lines(self) -> Iterator[tuple[str, Markup]]:
        """By part, the lines in which something is alike, that marked, with a few lines around."""
        for name, source, alike in self.parts():
            yield name, excerpt(source, alike)


@dataclass(frozen=True)
class Lead:
    """Two sides that a human should look at; the second may be lecturekit. `characters` are alike, names as one."""

    one: Side
    other: Side
    characters: int
    share: float  # the larger one: padding makes one side's share smaller, not the other's; of lecturekit's none counts


@dataclass
class Similarity:
    """What was found in a lab: leads, the most alike first, and the shares of all that was compared, 0 to 1."""

    lab: str
    threshold: float
    leads: list[Lead] = field(default_factory=list)
    pairs: list[float] = field(default_factory=list)
    ours: dict[str, float] = field(default_factory=dict)
    teams: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    def note(self, one: Entry, other: Entry, counts: Callable[[tuple[float, float]], float]) -> float:
        """Compare two: the share that counts, and a lead where that is large."""
        from copydetect.detector import compare_files  # imported here, since it brings all of matplotlib

        characters, shares, slices = compare_files(one.fingerprint, other.fingerprint)
        share = min(float(counts(shares)), 1.0)
        if characters and share >= self.threshold:
            sides = [
                Side(entry.who, min(float(part), 1.0), entry.text, where)
                for entry, part, where in zip((one, other), shares, slices, strict=True)
            ]
            self.leads.append(Lead(*sides, characters=int(characters), share=share))
        return share

    def sentences(self) -> list[str]:
        """What is usual in this class, so that a human can judge a lead."""
        found = []
        for shares, what in ((self.pairs, "pairs"), (list(self.ours.values()), f"submissions against {OURS}")):
            if shares:
                middle, high = statistics.median(shares), float(np.quantile(shares, 0.95))
                found.append(f"{len(shares)} {what}: median {middle:.0%}, 95 of 100 below {high:.0%}")
        if self.teams:
            found.append(f"pairs within a team, which were not compared: {self.teams}")
        return found


def similar(
    term: Term, roster: Roster, name: str, threshold: float, watch: Callable[[int, int], None] = lambda done, of: None
) -> Similarity:
    """Compare the submissions of a lab in pairs and with lecturekit; a lead is what shares `threshold`, 0 to 1.

    Pairs within one team of the roster are left out.

    Raises:
        ValueError: there is no such lab, or nothing was handed in.
    """
    term.lab(name)
    lab, found = load_built(term.root, name), Similarity(name, threshold)
    if not (term.root / "submitted").is_dir():
        raise ValueError(f"nothing to compare: expected {term.root / 'submitted'}/<pseudonym>/{name}/{name}.ipynb")
    submissions = collect(lab, term.root / "submitted")
    ours = lecturekit(term.root)
    template = prints(Text.of(("", cell.source) for cell in lab.release.cells if cell.cell_type == "code"), set())
    reference = prints(ours, template.hashes)
    known = template.hashes | reference.hashes | prints(solved(lab), set()).hashes
    team = {student.pseudonym: student.team for student in roster}
    entries, package = [], Entry(OURS, ours, reference)
    for number, submission in enumerate(submissions, 1):
        watch(number, len(submissions))
        who, text = submission.student, written(lab, submission)
        entry = Entry(who, text, prints(text, template.hashes))
        if reason := submission.refusal or entry.too_little:
            found.skipped[who] = reason
            continue
        found.ours[who] = found.note(entry, package, lambda shares: shares[0])
        entries.append(Entry(who, text, prints(text, known)))
    pairs = list(itertools.combinations([entry for entry in entries if not entry.too_little], 2))
    for number, (one, other) in enumerate(pairs, 1):
        if number % 500 == 0 or number == len(pairs):
            watch(number, len(pairs))
        if team.get(one.who) and team.get(one.who) == team.get(other.who):
            found.teams += 1
        else:
            found.pairs.append(found.note(one, other, max))
    found.leads.sort(key=lambda lead: (-lead.share, lead.one.who, lead.other.who))
    return found


# ---- what is compared ------------------------------------------------------------------------------------------------
def written(lab: BuiltLab, submission: Submission) -> Text:
    """The code that a student wrote, cell by cell: filled-in cells and added ones, not those that are as released."""
    given = {grade_id(cell): cell.source.strip() for cell in lab.release.cells}
    steps = [] if submission.refusal else plan(lab, submission)
    theirs = [(s.id, s.source) for s in steps if s.kind in ("student", "added") and s.source.strip() != given.get(s.id)]
    left, parts = MOST, []
    for id, source in theirs:
        parts.append((id, source[:left]))
        left -= len(parts[-1][1])
    return Text.of(parts)


def solved(lab: BuiltLab) -> Text:
    """The reference in the lab's order: runs that span two of its functions are lecturekit's as well."""
    cells = [cell.source for cell in lab.source.cells if role(cell) == "solution" and cell.cell_type == "code"]
    lines = [[line for line in source.splitlines() if " SOLUTION" not in line] for source in cells]
    return Text.of(("", "\n".join(line)) for line in lines)


def lecturekit(root: Path) -> Text:
    """The modules of the course's lecturekit, or of this one's where the course has none."""
    package = root / OURS if (root / OURS).is_dir() else ROOT / OURS
    paths = sorted(package.rglob("*.py"))
    return Text.of((path.relative_to(package.parent).as_posix(), path.read_text(encoding="utf-8")) for path in paths)


def prints(text: Text, known: set) -> Any:
    """copydetect's fingerprint of a text without what is `known`."""
    from copydetect.detector import CodeFingerprint

    return CodeFingerprint(
        "text.py", RUN, 1, np.array(list(known)), filter=True, language="python", fp=io.StringIO(str(text))
    )


def excerpt(source: str, alike: np.ndarray) -> Markup:
    """The lines of a source in which something is `alike`, that marked, and "…" for what is left out."""
    lines, begin, there = [], 0, []
    for line in source.split("\n"):
        flags = alike[begin : begin + len(line)]
        begin += len(line) + 1
        there.append(bool(flags.any()))
        runs = itertools.groupby(zip(line, flags, strict=True), key=lambda pair: bool(pair[1]))
        texts = ((marked, "".join(letter for letter, _ in run)) for marked, run in runs)
        lines.append(
            Markup("").join(Markup("<mark>{}</mark>").format(t) if marked else escape(t) for marked, t in texts)
        )
    near = [any(there[max(0, n - AROUND) : n + AROUND + 1]) for n in range(len(lines))]
    shown = []
    for keep, run in itertools.groupby(zip(lines, near, strict=True), key=lambda pair: pair[1]):
        shown += [line for line, _ in run] if keep else [Markup("…")]
    return Markup("\n").join(shown)


# ---- what is written -------------------------------------------------------------------------------------------------
def write_leads(found: Similarity, root: Path, called: Callable[[str], str] = str) -> tuple[Path, Path]:
    """Write ROOT/similar/<lab>.csv and .html, which only this account can read."""
    folder = root / "similar"
    folder.mkdir(mode=0o700, exist_ok=True)
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["one", "other", "share_one", "share_other", "characters", "where_one", "where_other"])
    for lead in found.leads:
        one, other = lead.one, lead.other
        texts = [harmless(called(side.who)) for side in (one, other)]
        shares = [f"{side.share:.2f}" for side in (one, other)]
        where = [harmless(", ".join(side.cells)) for side in (one, other)]
        writer.writerow([*texts, *shares, lead.characters, *where])
    paths = folder / f"{found.lab}.csv", folder / f"{found.lab}.html"
    for path, text in zip(paths, ("\ufeff" + table.getvalue(), render(found, called)), strict=True):
        write_whole(path, text, mode=0o600)
    return paths


def render(found: Similarity, called: Callable[[str], str] = str) -> str:
    """The page for the instructors."""
    return environment().get_template("term/similar.html.j2").render(
        found=found, called=called, lead_only=LEAD, ours=OURS, shown=MOST_SHOWN, listed=MOST_LISTED, run=RUN,
        pairs=distribution(found.pairs, found.threshold, f"How alike pairs of submissions of {found.lab} are"),
        against=distribution(list(found.ours.values()), found.threshold, f"How much of {OURS} is in submissions"),
    )  # fmt: skip


def distribution(shares: list[float], threshold: float, label: str) -> Markup:
    """The shares as columns of five per cent; what is above the threshold in another colour."""
    if not shares:
        return Markup("")
    counts = Counter(min(int(share * 100) // STEP, 100 // STEP - 1) for share in shares)
    steps = range(100 // STEP)
    above = {step: "var(--lk-orange)" for step in steps if step * STEP >= threshold * 100}
    return columns([f"{step * STEP}%" for step in steps], [counts[step] for step in steps], label, above)
