"""Pages followed from top to bottom: each command and each piece of Python does what a reader would do with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .blocks import OWN_TESTS, blocks_of, name_of, pages
from .walk import FILES, Walk

pytestmark = pytest.mark.slow
FOLLOWED = [
    page
    for page in pages()
    if name_of(page) not in OWN_TESTS
    and any(block.kind in ("console", "python") and not block.not_run and not block.file for block in blocks_of(page))
]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the study `quickstart`, a smaller one, has run."""
    walk = Walk(tmp_path_factory.mktemp("small"))
    shutil.copy(FILES / "quickstart", walk.folder)
    walk.shell("hpo run quickstart", next(iter(blocks_of(FOLLOWED[0]))))
    return walk.folder


@pytest.fixture
def follow(small: Path, tmp_path: Path) -> Callable[[Path], Walk]:
    def follow(page: Path) -> Walk:
        folder = Path(shutil.copytree(small, tmp_path / "page"))
        return Walk(folder).follow(page)

    return follow


@pytest.mark.parametrize("page", FOLLOWED, ids=name_of)
def test_a_page_does_what_it_shows(page: Path, follow: Callable[[Path], Walk]) -> None:
    follow(page)
