"""The names of the lab that a file `test_labNN.py` is about, and no picture left over."""

from collections.abc import Iterator

import matplotlib
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from autograder.hints import namespace
from autograder.mistakes import source_of


@pytest.fixture(scope="module")
def names(request: pytest.FixtureRequest) -> dict:
    return namespace(source_of(request.path.stem.removeprefix("test_")), {})


@pytest.fixture(autouse=True)
def no_pictures_left() -> Iterator[None]:
    yield
    plt.close("all")
