"""What every test begins with."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def same_start() -> Iterator[None]:
    """The same random numbers, and one thread: small models gain nothing by more, and a test's neighbours lose."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
