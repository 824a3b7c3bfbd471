"""The job table: every submission is a row before anything runs, and every attempt at grading it is kept.

The tables lie in the gradebook's own database, beside nbgrader's and under the same session, so that one transaction
writes a mark, its trail and the state of its job. There is one writer, the process that holds the lock (`lock.py`).

    queued -> running -> done      its marks are written
                      -> failed    the grader's own fault, or it was broken off: what marks there are, are older
                      -> aside     marked as far as it got; a human must look at it

What was handed in and what it was judged by are kept by their digests (`Content`): any attempt can be run again.
"""

import base64
import dataclasses
import hashlib
import json
import secrets
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from sqlalchemy import Boolean, DateTime, Float, Integer, LargeBinary, String, Text, UniqueConstraint, inspect, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, defer, mapped_column

from autograder.build import ROOT
from autograder.intake import BuiltLab, Submission, exercise_of, grade_id, load_built, role
from autograder.runner import Outcome, Run

SCHEMA = "1"
QUEUED, RUNNING, DONE, FAILED, ASIDE = "queued", "running", "done", "failed", "aside"
OPEN, SETTLED = (QUEUED, RUNNING), (DONE, ASIDE)
BROKEN_OFF = "The regrade was broken off before it was confirmed."
CONTRIBUTION = ("refusal", "solutions", "added", "answers", "missing", "notes")  # what is judged of a submission


class Table(DeclarativeBase):
    """Our tables, apart from nbgrader's."""


class Setting(Table):
    """One value of the class: the schema's version, the secret, the version of each lab that the gradebook knows."""

    __tablename__ = "lecturekit_setting"
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class Content(Table):
    """Bytes by their digest: a submission's contribution, or a lab's files."""

    __tablename__ = "lecturekit_content"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class Job(Table):
    """One attempt at grading one submission. `run` has its cells' outcomes; `held` waits for a human's yes."""

    __tablename__ = "lecturekit_job"
    __table_args__ = (UniqueConstraint("lab", "student", "attempt"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    lab: Mapped[str] = mapped_column(Text)
    student: Mapped[str] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(Integer)
    content: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(64))
    files: Mapped[str] = mapped_column(String(64))
    secret: Mapped[str] = mapped_column(String(64))
    handed_in: Mapped[datetime | None] = mapped_column(DateTime)
    exercise: Mapped[str] = mapped_column(Text, default="")  # the only one that is graded again, or ""
    why: Mapped[str] = mapped_column(Text, default="")
    who: Mapped[str] = mapped_column(Text, default="autograder")
    held: Mapped[bool] = mapped_column(Boolean, default=False)
    state: Mapped[str] = mapped_column(String(16), default=QUEUED)
    queued: Mapped[datetime] = mapped_column(DateTime)
    started: Mapped[datetime | None] = mapped_column(DateTime)
    finished: Mapped[datetime | None] = mapped_column(DateTime)
    starts: Mapped[int] = mapped_column(Integer, default=0)
    crashes: Mapped[int] = mapped_column(Integer, default=0)
    caged: Mapped[bool | None] = mapped_column(Boolean)
    score: Mapped[float | None] = mapped_column(Float)
    max_score: Mapped[float | None] = mapped_column(Float)
    reason: Mapped[str] = mapped_column(Text, default="")
    run: Mapped[bytes | None] = mapped_column(LargeBinary)


class Trail(Table):
    """One change of a mark or comment: append-only. `what` is "auto", "manual", "extra" or "comment".

    Of a student whose rows were removed one row is left, "forgotten", which names nobody.
    """

    __tablename__ = "lecturekit_trail"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime)
    lab: Mapped[str] = mapped_column(Text, index=True)
    student: Mapped[str] = mapped_column(Text, index=True)
    cell: Mapped[str] = mapped_column(Text)
    what: Mapped[str] = mapped_column(String(16))
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    who: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text)
    attempt: Mapped[int | None] = mapped_column(Integer)


def now() -> datetime:
    """The time as nbgrader keeps it: UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


# ---- what is kept of a lab and of a submission ---------------------------------------------------------------------
def squeeze(value: Any) -> bytes:
    """Plain data as compressed JSON, the same for the same data."""
    return zlib.compress(json.dumps(value, sort_keys=True).encode(), 6)


def unsqueeze(body: bytes) -> Any:
    return json.loads(zlib.decompress(body))


def digest_of(value: Any) -> str:
    """The SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def files_of(root: Path, lab: str) -> dict[str, str]:
    """All that a lab's judging reads, by path below the course's root, base64: its notebooks, its data, its hints."""
    hints = Path("lecturekit", "hints", f"{lab}.json")
    places = {path: root / path for path in (Path("labs", lab, f"{lab}.ipynb"), hints)}
    if not places[hints].is_file():  # a course of its own grades with the package's
        places[hints] = ROOT / hints
    folder = root / "solutions" / lab
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".ipynb_checkpoints" not in path.parts:
            places[path.relative_to(root)] = path
    return {
        path.as_posix(): base64.b64encode(place.read_bytes()).decode()
        for path, place in places.items()
        if place.is_file()
    }


def unpack_files(files: dict[str, str], root: Path) -> None:
    """Write what `files_of` read below another root."""
    for name, body in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(body))


def version_of(lab: BuiltLab, files: dict[str, str]) -> str:
    """The digest of what decides a mark: the cells that run, what students got to fill in, hints and data.

    Prose may be corrected without grading the class again, and so may model answers and rubrics, which humans read.
    """

    def judged(cell: nbformat.NotebookNode) -> list:
        about = cell.metadata.get("nbgrader", {}), cell.metadata.get("lecturekit", {})
        marks = [about[0].get("points"), about[1].get("training", False)]
        return [cell.cell_type, grade_id(cell), role(cell), exercise_of(cell), marks]

    cells = [cell for cell in lab.source.cells if cell.cell_type == "code" or role(cell) == "manual"]
    ours = [[*judged(cell), "" if role(cell) == "manual" else cell.source] for cell in cells]
    given = [[*judged(cell), cell.source] for cell in lab.release.cells if role(cell) in ("solution", "manual")]
    rest = {name: body for name, body in files.items() if not name.endswith(f"/{lab.name}.ipynb")}
    return digest_of([ours, given, rest])


def others_digest(lab: BuiltLab, exercise: str) -> str:
    """The digest of all code cells of a lab that don't belong to `exercise`."""
    cells = [c for c in lab.source.cells if c.cell_type == "code" and exercise_of(c) != exercise]
    return digest_of([[grade_id(cell), role(cell), cell.source] for cell in cells])


def packed_run(run: Run) -> bytes:
    return squeeze(dataclasses.asdict(run))


def unpacked_run(body: bytes) -> Run:
    """The run that `packed_run` packed; a field that another version of the grader kept is left out."""
    return run_of(unsqueeze(body))


def run_of(plain: dict[str, Any]) -> Run:
    """A run from plain data, as a worker sends it."""
    known = {field.name for field in dataclasses.fields(Run)}
    texts = {field.name for field in dataclasses.fields(Outcome)}
    outcomes = {
        id: Outcome(**{name: text for name, text in outcome.items() if name in texts})
        for id, outcome in plain["outcomes"].items()
    }
    return Run(**{name: value for name, value in plain.items() if name in known} | {"outcomes": outcomes})


# ---- the table -----------------------------------------------------------------------------------------------------
class Jobs:
    """The jobs of one lab in an open gradebook's database.

    Raises:
        ValueError: the tables were made by a newer version of the grader.
    """

    def __init__(self, db: Session, lab: str):
        self.db, self.lab = db, lab
        engine = db.get_bind()
        if not inspect(engine).has_table(Setting.__tablename__) or self.setting("schema") is None:
            Table.metadata.create_all(engine)  # killed within, it finds those that are there and makes the others
            self.set("schema", SCHEMA)
            db.commit()
        if self.setting("schema") != SCHEMA:
            raise ValueError(
                f"the gradebook's job table has schema {self.setting('schema')}, expected {SCHEMA}: "
                "it was made by another version of the grader"
            )

    def setting(self, name: str) -> str | None:
        row = self.db.get(Setting, name)
        return row.value if row else None

    def set(self, name: str, value: str) -> None:
        self.db.merge(Setting(name=name, value=value))

    @property
    def secret(self) -> str:
        """What the class's hidden inputs are drawn from: made once, known to this database alone."""
        if self.setting("secret") is None:
            self.set("secret", secrets.token_hex(16))
            self.db.commit()
        return self.setting("secret")

    def seal(self, secret: str) -> None:
        """Make a term's secret the class's, before anything was graded. Commits.

        Raises:
            ValueError: the class has another one already.
        """
        self.agree(secret)
        if self.setting("secret") is None:
            self.set("secret", secret)
            self.db.commit()

    def agree(self, secret: str) -> None:
        """Make sure that the class has no other secret than a term's.

        Raises:
            ValueError: it has.
        """
        if self.setting("secret") not in (None, secret):
            raise ValueError(
                "the gradebook has another secret than course.toml: expected the same, or equal code would not earn "
                "equal marks; take the gradebook's own (its table lecturekit_setting), or begin a new gradebook"
            )

    def keep(self, value: Any) -> str:
        """Keep plain data; returns its digest."""
        digest = digest_of(value)
        if self.db.get(Content, digest) is None:
            self.db.add(Content(digest=digest, body=squeeze(value)))
        return digest

    def kept(self, digest: str) -> Any:
        """What `keep` kept."""
        return unsqueeze(self.db.get(Content, digest).body)

    def attempts(self, student: str) -> list[Job]:
        """All attempts at a student's submissions of this lab, the last one first."""
        query = select(Job).filter_by(lab=self.lab, student=student).order_by(Job.attempt.desc())
        return list(self.db.scalars(query.options(defer(Job.run))))

    def last(self, student: str) -> Job | None:
        """The attempt whose marks the gradebook has, if there is one."""
        return next((job for job in self.attempts(student) if job.state in SETTLED), None)

    def enqueue(self, submission: Submission, version: str, files: str, again: bool = False, **about: Any) -> Job:
        """The job of a submission: one that has settled it, one that was broken off, or a new row. Doesn't commit.

        Settled is what has the same content, the same version of the lab and the same secret; `again` asks for a new
        attempt nevertheless.
        """
        content = self.keep({name: getattr(submission, name) for name in CONTRIBUTION})
        key = (content, version, digest_of(self.secret))
        attempts = self.attempts(submission.student)
        for job in attempts:
            if job.state in OPEN and (again or self.key(job) != key):
                self.finish(job, FAILED, "The submission or its tests changed before it was graded.")
        waiting = next((job for job in attempts if job.state in OPEN), None)
        settled = next((job for job in attempts if job.state in SETTLED), None)
        if waiting:
            return waiting
        if settled and self.key(settled) == key and not again:
            return settled
        job = Job(
            lab=self.lab, student=submission.student, attempt=attempts[0].attempt + 1 if attempts else 1,
            content=content, version=version, files=files, secret=key[2], handed_in=submission.timestamp,
            state=QUEUED, queued=now(), starts=0, crashes=0, **about,
        )  # fmt: skip
        self.db.add(job)
        return job

    @staticmethod
    def key(job: Job) -> tuple[str, str, str]:
        return job.content, job.version, job.secret

    def recover(self) -> None:
        """What ran when a grader was killed waits again; what waited for a human's yes is given up. Commits."""
        for job in self.db.scalars(select(Job).where(Job.lab == self.lab, Job.state.in_(OPEN))):
            if job.held:
                self.finish(job, FAILED, BROKEN_OFF)
            job.state = QUEUED if job.state == RUNNING else job.state
        self.db.commit()

    def abandon(self, ids: list[int]) -> None:
        """What waits and isn't one of these was withdrawn. Commits."""
        for job in self.db.scalars(select(Job).where(Job.lab == self.lab, Job.state.in_(OPEN))):
            if job.id not in ids:
                self.finish(job, FAILED, "The submission was withdrawn before it was graded.")
        self.db.commit()

    def start(self, job: Job) -> None:
        """The job is handed to a worker. Commits."""
        job.state, job.started, job.starts = RUNNING, now(), job.starts + 1
        self.db.commit()

    def crashed(self, job: Job) -> None:
        """What ran the job died, and it waits again. Commits."""
        job.state, job.crashes = QUEUED, job.crashes + 1
        self.db.commit()

    def finish(self, job: Job, state: str, reason: str = "") -> None:
        """The attempt ends here. Doesn't commit."""
        job.state, job.reason, job.finished, job.held = state, reason, now(), False

    def submission(self, job: Job) -> Submission:
        """What was handed in when the job was made, whatever lies in the folder now."""
        return Submission(job.student, job.lab, job.handed_in, **self.kept(job.content))

    def lab_of(self, job: Job, root: Path) -> BuiltLab:
        """The lab as it was then, its files written below `root`."""
        unpack_files(self.kept(job.files), root)
        return load_built(root, job.lab)

    # ---- the trail -------------------------------------------------------------------------------------------------
    def note(self, job: Job | None, student: str, cell: str, what: str, before: Any, after: Any, **why: str) -> None:
        """Append one change to the trail. Doesn't commit."""
        attempt = job.attempt if job else None
        texts = {"before": told(before), "after": told(after)}
        row = {"lab": self.lab, "student": student, "cell": cell, "what": what, "attempt": attempt}
        self.db.add(Trail(at=now(), **row, **texts, **why))

    def trail(self, student: str | None = None) -> Iterator[Trail]:
        """The lab's trail, or one student's, oldest first."""
        query = select(Trail).where(Trail.lab == self.lab).order_by(Trail.id)
        return iter(self.db.scalars(query.where(Trail.student == student) if student else query))

    def known(self) -> dict[tuple[str, str, str], str | None]:
        """The last value that the trail knows, by student, cell and what it is."""
        rows = self.db.execute(
            select(Trail.student, Trail.cell, Trail.what, Trail.after).where(Trail.lab == self.lab).order_by(Trail.id)
        )
        return {(student, cell, what): after for student, cell, what, after in rows}


def told(value: float | str | None) -> str | None:
    """A mark or a comment as the trail keeps it."""
    return f"{value:g}" if isinstance(value, int | float) else value
