"""The addresses of `hpo ui`, and what answers each of them."""

from __future__ import annotations

import functools
import hashlib
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hpo import layout
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.control.requests import LIMITS, Answer
from hpo.machine.files import NotPlainError, read_plain, tail_of
from hpo.reports.html import fragment
from hpo.ui import parts
from hpo.ui.access import POLICY_OF_REPORTS, POLICY_WITH_EVAL
from hpo.ui.assets import asset
from hpo.ui.live import Snapshot
from hpo.ui.pages import page, study_url, unchanged
from hpo.ui.servers import COMMANDS, Servers
from hpo.ui.steering import ACTIONS, steer
from hpo.ui.studies import Studies, problem
from hpo.ui.table import STATES, Query, query_of, rows_of, table_page

# Pages that are files, and the most bytes of one: a report of a very large study has some megabytes.
REPORTS = ("report.html", "report.zh-TW.html")
_DIAGNOSES = ("diagnosis.html", "diagnosis.zh-TW.html")
_MOST_REPORT = 256 << 20
# Bytes of a text file of a trial that are sent, its last ones.
_MOST_TEXT = 8 << 20
_TEXTS = (layout.OUTPUT, layout.ERROR, layout.CRASH, layout.HISTORY)
_MOST_BODY = 10_000
# Trials that are listed below parallel coordinates.
_MOST_CHOSEN = 50

Endpoint = Callable[[Request], Response]


class Pages:
    """Answers of all addresses.

    Args:
        studies: The studies.
        servers: Servers on them.
    """

    def __init__(self, studies: Studies, servers: Servers) -> None:
        self.studies, self.servers = studies, servers

    def routes(self) -> list[Route]:
        """Return the addresses."""
        study = "/study/{name}"
        trial = f"{study}/trials/{{number:int}}"
        return [
            Route("/", self.all_studies),
            Route("/part/studies", self.part_studies),
            Route("/static/{version}/{name}", asset),
            Route(study, self.study),
            Route(f"{study}/part/state", self.of_study(self.part_state)),
            Route(f"{study}/part/budget", self.of_study(self.part_budget)),
            Route(f"{study}/part/curves", self.of_study(self.part_curves)),
            Route(f"{study}/part/history", self.of_study(self.part_history)),
            Route(f"{study}/heatmaps", self.heatmaps),
            Route(f"{study}/part/heatmaps", self.of_study(self.part_heatmaps)),
            Route(f"{study}/parallel", self.parallel),
            Route(f"{study}/part/parallel", self.of_study(self.part_parallel)),
            Route(f"{study}/part/chosen", self.of_study(self.part_chosen)),
            Route(f"{study}/trials", self.trials),
            Route(f"{study}/part/table", self.of_study(self.part_table)),
            Route(f"{study}/part/rows", self.of_study(self.part_rows)),
            Route(trial, self.trial),
            Route(f"{trial}/part", self.of_study(self.part_trial)),
            Route(f"{trial}/{{file}}", self.trial_file),
            Route(f"{study}/report", self.report),
            Route(f"{study}/{{file}}", self.report),
            Route(f"{study}/do/{{action}}", self.act, methods=["POST"]),
            Route(f"{study}/server/{{kind}}", self.server, methods=["GET"]),
            Route(f"{study}/server/{{kind}}", self.start_server, methods=["POST"]),
        ]

    # --- all studies

    def all_studies(self, request: Request) -> Response:
        """Answer the first page."""
        return page("studies.html", runs=self.studies.runs)

    def part_studies(self, request: Request) -> Response:
        """Answer the list of all studies."""
        rows = self.studies.listed()
        version = _version([(row.name, row.driven, row.problem, row.standing and row.standing.mark) for row in rows])
        if request.query_params.get("seen") == version:
            return unchanged()
        return page("part_studies.html", rows=rows, version=version, runs=self.studies.runs)

    # --- one study

    def of_study(self, answer: Callable[[Request, Snapshot], Response]) -> Endpoint:
        """Return what answers with a part of a page, or with a sentence if the study cannot be read."""

        @functools.wraps(answer)
        def answered(request: Request) -> Response:
            name = request.path_params["name"]
            live = self.studies.study(name)
            if live is None:
                return self._no_study(name)
            try:
                return answer(request, live.now())
            except Exception as error:
                return page("part_problem.html", said=problem(error), again=request.url.path)

        return answered

    def study(self, request: Request) -> Response:
        """Answer the first page of a study."""
        name = request.path_params["name"]
        servers = [self.servers.state(kind, name) for kind in COMMANDS]
        return self._page(request, "study.html", "overview", name, servers=servers)

    def part_state(self, request: Request, snapshot: Snapshot) -> Response:
        """Answer where a study stands."""
        name = request.path_params["name"]
        standing = self.studies.standings(name).now()
        version = _version(standing.mark)
        if request.query_params.get("seen") == version:
            return unchanged()
        record = standing.snapshot.record
        causes, warnings = parts.deaths(record)
        return page(
            "part_state.html",
            name=name,
            standing=standing,
            version=version,
            running=parts.running_trials(standing.snapshot),
            bests=parts.bests(record),
            record=record,
            causes=causes,
            warnings=warnings,
        )

    def part_budget(self, request: Request, snapshot: Snapshot) -> Response:
        """Answer the form that extends the budget."""
        budget = {limit: getattr(snapshot.spec.budget, limit) for limit in LIMITS}
        limits = {limit: amount for limit, amount in budget.items() if amount is not None}
        return page("part_budget.html", name=request.path_params["name"], limits=limits)

    def part_curves(self, request: Request, snapshot: Snapshot) -> Response:
        """Answer the curves of the best trials."""
        return self._figures(request, snapshot, "curves", parts.curve_blocks)

    def part_history(self, request: Request, snapshot: Snapshot) -> Response:
        """Answer the value of each trial, and the best so far."""
        return self._figures(request, snapshot, "history", parts.history_blocks)

    def heatmaps(self, request: Request) -> Response:
        """Answer the page of heatmaps."""
        title = f"{request.path_params['name']}: heatmaps"
        return self._page(request, "figures.html", "heatmaps", title, part="heatmaps")

    def part_heatmaps(self, request: Request, snapshot: Snapshot) -> Response:
        """Answer the heatmaps."""
        return self._figures(request, snapshot, "heatmaps", parts.heatmap_blocks)

    def parallel(self, request: Request) -> Response:
        """Answer the page of parallel coordinates."""
        title = f"{request.path_params['name']}: parallel coordinates"
        response = self._page(request, "parallel.html", "parallel", title)
        response.headers["content-security-policy"] = POLICY_WITH_EVAL
        return response

    def part_parallel(self, request: Request, snapshot: Snapshot) -> Response:
        """Answer the parallel coordinates."""
        return self._figures(request, snapshot, "parallel", parts.parallel_blocks, live=False)

    def part_chosen(self, request: Request, snapshot: Snapshot) -> Response:
        """Answer a table of the trials that were chosen in parallel coordinates."""
        given = request.query_params.get("trials", "").split(",")[:_MOST_CHOSEN]
        numbers = [int(one) for one in given if one.isascii() and one.isdigit() and len(one) < 12]
        name = request.path_params["name"]
        return page("part_chosen.html", name=name, table=rows_of(snapshot.record, numbers))

    def trials(self, request: Request) -> Response:
        """Answer the page with the table of all trials."""
        name = request.path_params["name"]
        table = _with_values(study_url(name, "part", "table"), query_of(request.query_params).as_values())
        return self._page(request, "trials.html", "trials", f"{name}: trials", table=table)

    def part_table(self, request: Request, snapshot: Snapshot) -> Response:
        """Answer the table of all trials, with the form that filters it."""
        return self._table(request, snapshot, "part_table.html")

    def part_rows(self, request: Request, snapshot: Snapshot) -> Response:
        """Answer a page of the table of all trials, which gets an address of its own."""
        response = self._table(request, snapshot, "part_rows.html")
        shown = query_of(request.query_params).as_values()
        response.headers["hx-push-url"] = _with_values(study_url(request.path_params["name"], "trials"), shown)
        return response

    def _table(self, request: Request, snapshot: Snapshot, template: str) -> Response:
        name = request.path_params["name"]
        table = table_page(snapshot.record, query_of(request.query_params))

        def url(query: Query) -> str:
            return _with_values(study_url(name, "part", "rows"), query.as_values())

        return page(template, name=name, table=table, url=url, states=STATES)

    # --- one trial

    def trial(self, request: Request) -> Response:
        """Answer the page of a trial."""
        name, number = request.path_params["name"], request.path_params["number"]
        asked = request.query_params.get("with", "").strip()
        return self._page(request, "trial.html", "trials", f"{name}: trial {number}", number=number, asked=asked)

    def part_trial(self, request: Request, snapshot: Snapshot) -> Response:
        """Answer everything about a trial."""
        record, number = snapshot.record, request.path_params["number"]
        trial, asked = record.by_number.get(number), request.query_params.get("with", "").strip()
        if trial is None:
            there = f"its trials are 0 to {len(record.trials) - 1}" if record.trials else "it has none yet"
            return page(
                "part_said.html", answer=Answer(f"Study '{record.name}' has no trial {number}; {there}.", ok=False)
            )
        other = _trial_of(record, asked) if asked != str(number) else None
        runs = trial.state == "RUNNING"
        version = _version((trial.state, runs and trial.steps, parts.output_marks(record, number)))
        if request.query_params.get("seen") == version:
            return unchanged()
        both = [trial, *([other] if other is not None else [])]
        values, params = parts.compared(both)
        sections = [
            (section.title, fragment(f"{record.name} trial {number}", section.blocks))
            for section in parts.training_sections(record, trial)
        ]
        beside = None
        if other is not None:
            beside = fragment(f"{record.name} trials {number} {other.number}", parts.comparison_blocks(record, both))
        return page(
            "part_trial.html",
            name=request.path_params["name"],
            trial=trial,
            other=other,
            asked=asked,
            record=record,
            version=version,
            live=trial.state in ("RUNNING", "WAITING"),
            values=values,
            params=params,
            sections=sections,
            beside=beside,
            outputs=parts.outputs(record, number),
        )

    # --- files

    def trial_file(self, request: Request) -> Response:
        """Answer a file of a trial, one of those that reports lead to."""
        name, file = request.path_params["name"], request.path_params["file"]
        if self.studies.study(name) is None:
            return self._no_study(name)
        folder = layout.trial_directory(layout.study_directory(self.studies.runs, name), request.path_params["number"])
        if file in _DIAGNOSES:
            return _report(folder / file, name)
        if file not in _TEXTS:
            return page("problem.html", 404, name=name, said=f"There is no file '{file}' to be shown.")
        try:
            content = tail_of(folder / file, _MOST_TEXT)
        except OSError as error:
            return page("problem.html", 404, name=name, said=f"{folder / file} cannot be shown: {error.strerror}.")
        return PlainTextResponse(content.decode(errors="replace"))

    def report(self, request: Request) -> Response:
        """Answer the latest report of a study."""
        name, file = request.path_params["name"], request.path_params.get("file", REPORTS[0])
        if self.studies.study(name) is None:
            return self._no_study(name)
        if file not in REPORTS:
            return page("problem.html", 404, name=name, said=f"There is no page '{file}' of study '{name}'.")
        return _report(layout.study_directory(self.studies.runs, name) / file, name)

    # --- what changes something

    async def act(self, request: Request) -> Response:
        """Send a request to the driver of a study, and answer what it says."""
        name, action = request.path_params["name"], request.path_params["action"]
        given = await _form(request)
        return await run_in_threadpool(self._act, name, action, given)

    def _act(self, name: str, action: str, given: dict[str, str]) -> Response:
        live = self.studies.study(name)
        if live is None or action not in ACTIONS:
            return self._no_study(name)
        answer = steer(self.studies.runs, name, action, given)
        live.look_again()
        return page("part_said.html", headers={"hx-trigger": "steered"}, answer=answer)

    def server(self, request: Request) -> Response:
        """Answer how far a server on a study is."""
        name, kind = request.path_params["name"], request.path_params["kind"]
        if self.studies.study(name) is None or kind not in COMMANDS:
            return self._no_study(name)
        return page("part_server.html", name=name, server=self.servers.state(kind, name))

    def start_server(self, request: Request) -> Response:
        """Start a server on a study."""
        name, kind = request.path_params["name"], request.path_params["kind"]
        if self.studies.study(name) is None or kind not in COMMANDS:
            return self._no_study(name)
        return page("part_server.html", name=name, server=self.servers.start(kind, name))

    # --- what the pages share

    def _page(self, request: Request, template: str, tab: str, title: str, **values: Any) -> Response:
        """Return a page of a study, whose parts are read when the browser asks for them."""
        name = request.path_params["name"]
        if self.studies.study(name) is None:
            return self._no_study(name)
        folder = layout.study_directory(self.studies.runs, name)
        reports = [file for file in REPORTS if (folder / file).is_file()]
        return page(template, name=name, tab=tab, title=title, reports=reports, **values)

    def _no_study(self, name: str) -> Response:
        said = f"There is no study '{name}' in {self.studies.runs}.{self.studies.nearest(name)}"
        return page("problem.html", 404, name="", said=said)

    def _figures(
        self, request: Request, snapshot: Snapshot, part: str, make: Callable[[StudyRecord], Any], live: bool = True
    ) -> Response:
        if request.query_params.get("seen") == snapshot.finished:
            return unchanged()
        name = request.path_params["name"]
        html = fragment(f"{snapshot.record.name} {part}", make(snapshot.record))
        return page("part_figures.html", name=name, part=part, version=snapshot.finished, html=html, live=live)


def application(studies: Studies, servers: Servers) -> Starlette:
    """Return the application, not yet guarded."""
    return Starlette(routes=Pages(studies, servers).routes(), exception_handlers={404: _not_found})


def _not_found(request: Request, error: Exception) -> Response:
    return page("problem.html", 404, name="", said=f"There is no page {request.url.path}.")


def _report(path: Path, name: str) -> Response:
    try:
        content = read_plain(path, _MOST_REPORT)
    except NotPlainError as error:
        return page("problem.html", 404, name=name, said=f"{path} cannot be shown: {error.strerror}.")
    except OSError as error:
        said = f"{path} cannot be read: {error.strerror}. `hpo report {name}` writes the report."
        return page("problem.html", 404, name=name, said=said)
    headers = {"content-security-policy": POLICY_OF_REPORTS}
    return Response(content, headers=headers, media_type="text/html; charset=utf-8")


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form; one that is too long has none."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BODY:
            return {}
    return dict(urllib.parse.parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def _with_values(path: str, values: dict[str, str]) -> str:
    return f"{path}?{urllib.parse.urlencode(values)}" if values else path


def _trial_of(record: StudyRecord, given: str) -> TrialRecord | None:
    whole = given.isascii() and given.isdigit() and len(given) < 12
    return record.by_number.get(int(given)) if whole else None


def _version(told: object) -> str:
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
