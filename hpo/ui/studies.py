"""The studies of a runs folder, kept up to date; those that cannot be read have a sentence instead."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from hpo import layout
from hpo.errors import HpoError
from hpo.machine.access import is_denied, reason, why_denied
from hpo.text import nearest, presentable
from hpo.ui.live import LiveStudy, SharedStorages
from hpo.ui.standing import Standing, Standings

# A list of studies waits so long for those that are being read; the next list has them.
_PATIENCE_SECONDS = 0.4
_READERS = 2


@dataclass(frozen=True)
class Listed:
    """A study of the list.

    Attributes:
        name: Its name.
        driven: When it was driven last, in seconds since the epoch; None if that is not known.
        standing: Where it stands; None while it is being read, or if it cannot be.
        problem: A sentence on why it cannot be read.
    """

    name: str
    driven: float | None
    standing: Standing | None = None
    problem: str = ""


class Studies:
    """Studies of a runs folder.

    Args:
        runs: The runs folder.
    """

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._storages = SharedStorages()
        self._studies: dict[str, LiveStudy] = {}
        self._standings: dict[str, Standings] = {}
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="hpo-ui-reader")
        self._reading: dict[str, Future[Standing]] = {}
        self._known: dict[str, Listed] = {}

    def close(self) -> None:
        """Begin to read nothing more."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    def study(self, name: str) -> LiveStudy | None:
        """Return a study of the runs folder; None if there is none of that name."""
        if name not in layout.studies_in(self.runs):
            return None
        with self._lock:
            return self._study(name)

    def standings(self, name: str) -> Standings:
        """Return what says where a study of the runs folder stands."""
        with self._lock:
            self._study(name)
            return self._standings[name]

    def nearest(self, name: str) -> str:
        """Return ` Did you mean 'x'?` for the name that is most like `name`, or an empty text."""
        return nearest(name, layout.studies_in(self.runs))

    def listed(self) -> list[Listed]:
        """Return all studies, the one last driven first; at the end the folders that cannot be read as a study."""
        found = [self._listed(name) for name in layout.studies_in(self.runs)]
        wait([one for one in found if isinstance(one, Future)], timeout=_PATIENCE_SECONDS)
        rows = [self._as_far_as_known(name) for name in layout.studies_in(self.runs)]
        gone = f"its {layout.SPEC} is gone; `hpo run` the YAML that it was started with, which writes this file anew"
        rows += [Listed(path.name, None, None, gone) for path in layout.folders_without_spec(self.runs)]
        rows += [Listed(path.name, None, None, why_denied(path)) for path in layout.closed_folders(self.runs)]
        return rows

    def _study(self, name: str) -> LiveStudy:
        if name not in self._studies:
            self._studies[name] = LiveStudy(self.runs, name, self._storages)
            self._standings[name] = Standings(self._studies[name])
        return self._studies[name]

    def _listed(self, name: str) -> Future[Standing]:
        """Have a study read, unless that is being done."""
        with self._lock:
            self._study(name)
            there = self._reading.get(name)
            if there is None or there.done():
                there = self._reading[name] = self._readers.submit(self._read, name)
            return there

    def _read(self, name: str) -> Standing:
        driven = self._driven(name)
        try:
            standing = self._standings[name].now()
        except Exception as error:
            self._known[name] = Listed(name, driven, None, problem(error))
            raise
        self._known[name] = Listed(name, driven, standing)
        return standing

    def _as_far_as_known(self, name: str) -> Listed:
        return self._known.get(name) or Listed(name, self._driven(name))

    def _driven(self, name: str) -> float | None:
        try:
            return (layout.study_directory(self.runs, name) / layout.SPEC).stat().st_mtime
        except OSError:
            return None


def problem(error: Exception) -> str:
    """Return why a study cannot be read, as a sentence; what is no fault of the study is raised again."""
    if isinstance(error, HpoError):
        return presentable(str(error))
    if isinstance(error, KeyError):
        return "it is no longer in its storage: it was deleted there, or the storage was moved"
    if isinstance(error, OSError) and is_denied(error):
        return reason(error)
    return presentable(f"it cannot be read ({type(error).__name__}: {error}); `hpo doctor` may say more")


def ago(seconds: float) -> str:
    """Return a moment as it is read in a list: its date and time in this time zone."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
