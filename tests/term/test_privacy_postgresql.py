"""A person is forgotten in a gradebook on a server too."""

from pathlib import Path

import pytest

from autograder.term import privacy, search
from tests.term.classroom import Classroom, all_passed

try:
    from tests.autograder.test_dask import server, url  # noqa: F401
except pytest.fail.Exception:
    pytest.skip("the server of test_dask.py needs pytest-xdist's mark", allow_module_level=True)


@pytest.fixture
def here(tmp_path: Path) -> Classroom:
    return Classroom.make(tmp_path / "course")


def test_a_gradebook_in_postgresql(here: Classroom, url: str) -> None:
    path = here.root / "course.toml"
    path.write_text(f'gradebook = "{url}"\n' + path.read_text(encoding="utf-8"), encoding="utf-8")
    (here.root / "gradebook.db").unlink()
    here.hand_in("st-001", "lab90", "2026-09-10 12:00:00", double="def double(x):\n    # Анна Ёлкина\n    return x + x")
    here.hand_in("st-002", "lab90", "2026-09-10 13:00:00")
    here.grade("lab90", lambda id: all_passed())
    kept = {trace.place: trace.count for trace in privacy.traces(here.term, here.roster)}
    assert (kept["gradebook: attempts"], kept["gradebook: marks"]) == (2, 8)
    anna = here.roster.students["st-001"]
    assert "gradebook: lecturekit_content" in {left.place for left in search.search(here.term, [anna])[0]}
    privacy.forget(here.term, [anna], roster_too=True)
    with here.book("lab90") as book:
        assert [row.student for row in book.jobs.trail() if row.what == "forgotten"] == [""]
        assert book.jobs.last(here.pseudonym("st-002")).score == 5
    assert search.search(here.term, [anna]) == ([], [])
