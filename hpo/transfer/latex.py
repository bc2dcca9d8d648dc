"""Tables of a study for a paper, in LaTeX with booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpo.analysis.confirmation import Confirmation, Trained, confirmation_of, own_race
from hpo.analysis.formatting import configuration, decimals, number, score
from hpo.analysis.groups import best_per_group
from hpo.analysis.lineages import is_population, searched
from hpo.analysis.records import StudyRecord
from hpo.analysis.statistics.anova import anova
from hpo.reports.p_values import p_text
from hpo.spec.models import Metric

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}", "\u00b1": r"$\pm$",
    "\u00d7": r"$\times$", "\u2264": r"$\leq$", "\u2265": r"$\geq$", "\u00b5": r"\textmu{}", "\u2013": "--",
    "\u2014": "---", "\u2026": r"\ldots{}", "\n": " ",
}  # fmt: skip
_UNDERSCORE = r"\_"
_DAGGER = r"$^\dagger$"  # marks trials that were trained elsewhere


@dataclass(frozen=True)
class LatexTable:
    """A table: the stem of its file, its caption, its columns (`l`, `r`, `p{...}`), its head and its rows, as LaTeX."""

    stem: str
    caption: str
    columns: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Return the file: a `table*` that takes both columns of a page, 7.2 in wide."""
        lines = [
            "% \\usepackage{booktabs,textcomp} in the preamble.",
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{self.caption}}}",
            rf"\label{{tab:{self.stem}}}",
            r"\small",
            rf"\begin{{tabular}}{{{self.columns}}}",
            r"\toprule",
            " & ".join(self.head) + r" \\",
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in self.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
        ]
        return "\n".join(lines) + "\n"


def escaped(text: object) -> str:
    """Return a text as LaTeX prints it, whatever signs it has."""
    return "".join(_SPECIAL.get(sign, sign) for sign in str(text))


def name_text(name: str) -> str:
    """Return the name of a parameter or metric in typewriter letters, which may be broken behind an underscore."""
    broken = escaped(name).replace(_UNDERSCORE, rf"{_UNDERSCORE}\allowbreak{{}}")
    return rf"\texttt{{{broken}}}"


def tables(study: StudyRecord) -> tuple[LatexTable, ...]:
    """Return the tables of a study: the best of each group, the confirmation, and the analysis of variance.

    One that the study has no numbers for is left out.
    """
    found: list[LatexTable | None] = []
    race = own_race(study) is not None
    confirmed = confirmation_of(study)
    for metric in study.metrics:
        suffix = "" if len(study.metrics) == 1 else f"-{_file_name(metric.name)}"
        if not race:
            found.append(_best(study, metric, confirmed, suffix))
        if not race and not is_population(study):
            found.append(_anova(searched(study), metric, suffix))
    if confirmed is not None:
        found.append(_confirmation(study, confirmed))
    return tuple(table for table in found if table is not None)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "metric"


# --- the best of each group


def _best(study: StudyRecord, metric: Metric, confirmed: Confirmation | None, suffix: str) -> LatexTable | None:
    groups = [group for group in best_per_group(study, metric) if group.best is not None]
    if not groups:
        return None
    values = [group.best.values[metric.name] for group in groups if group.best is not None]
    places = (
        decimals(trial.values[metric.name] for trial in study.complete(metric)) if len(values) < 2 else decimals(values)
    )
    again = confirmed if confirmed is not None and confirmed.metric == metric else None
    trained = {} if again is None else {one.trial: one.estimating or one.choosing for one in again.configurations}
    shown = {
        group.best.number: trained[group.best.number] for group in groups if group.best and group.best.number in trained
    }
    rows = []
    for group in groups:
        best = group.best
        assert best is not None
        rows.append(
            [
                *([escaped(group.group)] if study.group_by else []),
                score(best.values[metric.name], places),
                *([_mean(shown[best.number], places) if best.number in shown else "--"] if shown else []),
                f"{group.complete}",
                f"{best.number}{_DAGGER if best.imported else ''}",
                escaped(configuration(best.params, without=[study.group_by])),
            ]
        )
    head = [
        *([name_text(study.group_by)] if study.group_by else []),
        name_text(metric.name),
        *(["again, mean $\\pm$ SD"] if shown else []),
        "$n$",
        "trial",
        "parameters",
    ]
    columns = f"{'l' if study.group_by else ''}r{'r' if shown else ''}rrp{{0.45\\linewidth}}"
    of = f" of each {name_text(study.group_by)}" if study.group_by else ""
    caption = (
        f"The best configuration{of} in the study {name_text(study.name)} by {name_text(metric.name)} "
        f"({metric.direction}d). {name_text(metric.name)}: the value of that one run, the best of $n$ complete runs."
    )
    if shown:
        caption += " Again: trained again with other seeds, in parentheses their number."
    if any(group.best is not None and group.best.imported for group in groups):
        caption += f" {_DAGGER}: trained elsewhere, and imported."
    return LatexTable(f"best{suffix}", caption, columns, head, rows)


def _mean(trained: Trained, places: int) -> str:
    if trained.mean is None:
        return "--"
    mean = score(trained.mean, places)
    deviation = "" if trained.deviation is None else rf" $\pm$ {score(trained.deviation, places)}"
    return f"{mean}{deviation} ({trained.n})"


# --- the confirmation


def _confirmation(study: StudyRecord, found: Confirmation) -> LatexTable | None:
    rows, places = [], 3
    means = [
        part.mean
        for one in found.configurations
        for part in (one.choosing, one.estimating)
        if part and part.mean is not None
    ]
    if not means:
        return None
    places = max(places, decimals(means)) if len(means) > 1 else places
    grouped = any(one.group for one in found.configurations)
    for one in found.configurations:
        before = "--" if one.selected is None else score(one.selected, places)
        own = "--" if one.estimating is None else _mean(one.estimating, places)
        standing = f"{one.standing}{' (reference)' if one.reference else ''}"
        rows.append(
            [
                str(one.trial),
                *([escaped(one.group)] if grouped else []),
                before,
                _mean(one.choosing, places),
                own,
                escaped(standing),
                escaped(configuration(one.params, without=[study.group_by] if grouped else [])),
            ]
        )
    head = [
        "trial",
        *([name_text(study.group_by)] if grouped and study.group_by else ["group"] if grouped else []),
        "search",
        "choosing",
        "estimating",
        "standing",
        "parameters",
    ]
    columns = f"r{'l' if grouped else ''}rrrlp{{0.34\\linewidth}}"
    caption = (
        f"Confirmation of the study {name_text(found.study)}: {name_text(found.metric.name)} "
        f"({found.metric.direction}d) of configurations that were trained again with fresh seeds, mean $\\pm$ standard "
        "deviation (number of seeds). "
        "Choosing: the seeds by which the winner was chosen, so that its own mean there is too good. Estimating: "
        "further seeds, which chose nothing. Search: the value of the one run in the search."
    )
    return LatexTable("confirmation", caption, columns, head, rows)


# --- the analysis of variance


def _anova(study: StudyRecord, metric: Metric, suffix: str) -> LatexTable | None:
    found = anova(study, metric)
    if not found.tested:
        return None
    rows = [
        [
            r" $\times$ ".join(map(name_text, term.names)),
            str(term.levels),
            str(term.df),
            number(term.sum_of_squares),
            f"{term.f:.2f}",
            p_text(term.p).replace("<", "$<$"),
            f"{term.eta:.2f}",
        ]
        for term in found.tested
    ]
    rows.append(["residual", "", str(found.residual_df), number(found.residual), "", "", ""])
    caption = (
        f"Analysis of variance of the final {name_text(metric.name)} of {found.n} complete trials of the study "
        f"{name_text(study.name)}, type II sums of squares. $p$ is not corrected for the number of factors. "
        "$\\eta_p^2$: partial eta squared."
    )
    if found.pruned:
        caption += f" {found.pruned} pruned trials have no final value and are not in it."
    if found.sampler:
        caption += (
            f" The sampler {name_text(found.sampler)} chose each trial by earlier ones: the trials are not "
            "independent, and $p$ is a hint and no proof."
        )
    head = ["factor", "levels", "df", "sum of squares", "$F$", "$p$", r"$\eta_p^2$"]
    return LatexTable(f"anova{suffix}", caption, "lrrrrrr", head, rows)


# --- a document that shows all of it


def document(inputs: Iterable[str], figures: Iterable[tuple[str, float, str]]) -> str:
    """Return a document of its own that shows the tables, the paragraph and the figures.

    Args:
        inputs: Stems of files to be read in.
        figures: File, width in inches and caption of each figure.
    """
    lines = [
        "% Shows what is in this folder; each file can be read into a paper by \\input or \\includegraphics.",
        r"\documentclass[10pt,twocolumn]{article}",
        r"\usepackage[letterpaper,margin=0.65in]{geometry}",
        r"\usepackage{iftex}",
        r"\ifPDFTeX\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\else\usepackage{fontspec}\fi",
        r"\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}",
        r"\usepackage{booktabs,textcomp,graphicx}",
        r"\setlength{\belowcaptionskip}{4pt}",
        r"\begin{document}",
        *(rf"\input{{{stem}}}" for stem in inputs),
    ]
    for file, width, caption in figures:
        star = "*" if width > 3.5 else ""
        lines += [
            rf"\begin{{figure{star}}}",
            r"\centering",
            rf"\includegraphics[width={width}in]{{{file}}}",
            rf"\caption{{{escaped(caption)}}}",
            rf"\end{{figure{star}}}",
            r"\clearpage" if star else "",
        ]
    return "\n".join([*filter(None, lines), r"\end{document}"]) + "\n"
