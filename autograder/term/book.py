"""A term's gradebook: one for all its labs, opened for one of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from nbgrader.coursedir import CourseDirectory

from autograder.gradebook import Book, course, is_there
from autograder.term.config import Term


def directory_of(term: Term, lab: str = "") -> CourseDirectory:
    """The course as nbgrader knows it, at a lab; without one, at the term's first."""
    return course(term.root, lab or next(iter(term.labs)))


@contextmanager
def open_book(term: Term, lab: str = "", create: bool = False) -> Iterator[Book]:
    """The gradebook; where there is none, `create` makes one.

    Raises:
        ValueError: there is none, it can't be opened, or its secret isn't the term's: by another one everybody would
            have another pseudonym than in it.
    """
    with Book(directory_of(term, lab), create=create) as book:
        if term.secret:
            book.jobs.agree(term.secret)
        yield book


@contextmanager
def book_if_any(term: Term, lab: str = "") -> Iterator[Book | None]:
    """The gradebook, or None where there is none yet.

    Raises:
        ValueError: as `open_book`.
    """
    if not is_there(directory_of(term, lab).db_url):
        yield None
        return
    with open_book(term, lab) as book:
        yield book
