"""Part of the section on held-out data that shows the last ensemble."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from hpo.analysis.ensemble_records import Ensemble, ensembles_of
from hpo.analysis.ensemble_wording import caveats, member_rows, members_text, score_rows, verdict
from hpo.analysis.records import StudyRecord
from hpo.reports.blocks import Block, Table, Text
from hpo.translation.catalogue import moment, sentences, tr


def ensemble_blocks(study: StudyRecord) -> list[Block]:
    """Return what is shown of the last ensemble; nothing without one."""
    found = ensembles_of(study)
    return list(_blocks(found[-1])) if found else []


def _blocks(ensemble: Ensemble) -> Iterator[Block]:
    when = moment(datetime.fromtimestamp(ensemble.when).astimezone())
    head = tr("Ensemble of {members}, chosen on validation ({when}).", members=members_text(ensemble), when=when)
    yield Text(sentences([verdict(ensemble), *caveats(ensemble), head]))
    scores, members = score_rows(ensemble), member_rows(ensemble)
    yield Table(scores[0], scores[1:], frozenset(range(1, 5)))
    yield Table(members[0], members[1:], frozenset(range(3)))
