"""Reading of study.yaml with all its mistakes at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hpo.errors import KeyPath, ObjectiveError, Problem, SpecError, dotted
from hpo.objective import command_line, locate
from hpo.space.parameter import Parameter
from hpo.space.search_space import SearchSpace
from hpo.spec import algorithms, includes, other_tools, overrides
from hpo.spec.confirming import confirm_problems
from hpo.spec.hints import hints
from hpo.spec.models import (
    Budget,
    Component,
    EngineSpec,
    Metric,
    MlflowSpec,
    StudySpec,
)
from hpo.spec.normalize import rewrite
from hpo.spec.population import is_population, population_problems
from hpo.spec.racing import is_race, race_problems
from hpo.spec.sampler_limits import refused_ranges
from hpo.spec.study_name import name_problem
from hpo.spec.wording import moment_text
from hpo.spec.yaml_document import Document, read_yaml
from hpo.text import label, listing, nearest, show
from hpo.validation import problems_in

__all__ = ["Budget", "Component", "EngineSpec", "Metric", "MlflowSpec", "StudySpec", "load_spec", "load_with_hints"]

KEYS = (
    *("name", "objective", "command", "root", "metrics", "group_by", "min_complete", "search_space", "constants"),
    *("sampler", "pruner", "red_flags", "enqueue", "fallbacks", "warm_start", "budget", "engine", "storage", "mlflow"),
    *("checkpoints", "seed", "trial_seeds", "confirm"),
)
# Keys that begin so are passed over: they hold what other keys take up by aliases and merge keys.
PARTS = "x-"
MOST_PARAMETERS = MOST_CHOICES = 1000
_OLD_KEYS = {"keep_checkpoints": "checkpoints"}  # earlier versions wrote these into runs/<study>/study.yaml
# These take the place of what is wrong, so that the rest of the file is checked too.
_STAND_INS: dict[str, Any] = {
    "name": "unnamed",
    "metrics": [{"name": "metric", "direction": "minimize"}],
    "budget": {"trials": 1},
    "root": ".",
}


def load_spec(path: str | os.PathLike[str], overrides: Sequence[str] = (), *, locate: bool = True) -> StudySpec:
    """Read and check study.yaml.

    Args:
        path: the file; one that does not exist is looked for among the studies that come with hpo.
        overrides: texts `key.of.study=value`, the value in YAML.
        locate: the objective or program, and classes of the user's, must be on this machine. Without it they are taken
            as
            written, for reading a study that ran elsewhere or long ago.

    Raises:
        SpecError: with every problem: file, line, key, what was given and what is expected.
    """
    return _Reader(find_study_file(path), locate).read(overrides)


def load_with_hints(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> tuple[StudySpec, tuple[str, ...]]:
    """Return what `load_spec` returns, and sentences about what may not be meant as it is written.

    Raises:
        SpecError: as `load_spec`.
    """
    reader = _Reader(find_study_file(path), True)
    return reader.read(overrides), (*hints(reader.document), *reader.document.notes)


def find_study_file(path: str | os.PathLike[str]) -> Path:
    """Return the study.yaml meant by `path`.

    Raises:
        SpecError: there is none; the message has the nearest name.
    """
    given = Path(path)
    candidates = [given, *includes.packaged("studies", str(given)), *includes.packaged("studies", f"{given}.yaml")]
    for candidate in candidates:
        if os.path.isfile(candidate):
            return candidate
    if os.path.isdir(given):
        raise SpecError([Problem(str(given), None, "", "is a folder; expected a study.yaml")])
    if str(given) in ("-", "/dev/stdin"):
        hint = "a study is read from a file, which a later run reads again: hpo best > best.yaml && hpo run best.yaml"
        raise SpecError([Problem(str(given), None, "", hint)])
    folders = {candidate.parent for candidate in candidates if os.path.isdir(candidate.parent)}
    names = sorted({file.name for folder in folders for file in folder.glob("*.y*ml")})
    raise SpecError([Problem(str(given), None, "", f"there is no such file.{nearest(given.name, names)}")])


class _Reader:
    def __init__(self, source: Path, locate: bool) -> None:
        self.source = source
        self.locate = locate
        self.problems: list[Problem] = []
        self.document = Document(None)

    def say(self, path: KeyPath, message: str) -> None:
        self.problems.append(self.document.problem(path, message))

    def read(self, settings: Sequence[str]) -> StudySpec:
        self.document = read_yaml(self.source)
        if not isinstance(self.document.data, dict):
            what = "is empty" if self.document.data is None else f"holds {show(self.document.data)}"
            self.say((), f"the file {what}; expected the keys of a study: {listing(KEYS, 20)}")
            raise SpecError([*self.document.problems, *self.problems])
        self.merge(settings)
        self.problems += self.document.problems
        for old, new in _OLD_KEYS.items():
            if old in self.document.data:
                self.document.data.setdefault(new, self.document.data.pop(old))
        data = {key: value for key, value in self.document.data.items() if value is not None}
        for key in self.document.data:
            if key not in KEYS and not str(key).startswith(PARTS):
                value = self.document.data[key]
                hint = nearest(key, KEYS)
                line = other_tools.top_level(str(key), value, self.document.data)
                if line and (not hint or other_tools.stands_for(str(key))):
                    self.say((key,), f"is not a key of a study; expected {line}")
                    continue
                if not hint and isinstance(value, dict):
                    hint = f" A part that others merge (<<: *name) may stand below a key such as {PARTS}{key}"
                self.say((key,), f"is not a key of a study; expected {listing(KEYS, 20)}.{hint}")
        bad = {problem.key.partition(".")[0] for problem in self.problems} & set(KEYS)
        # What another tool's key stands for is not missing besides.
        bad |= {other_tools.stands_for(str(key)) for key in self.document.data if key not in KEYS} & set(KEYS) - set(
            data
        )
        values = {key: data[key] for key in KEYS if key in data and key != "search_space"}
        values["space"] = self.read_space(data, bad)

        def wrong(path: KeyPath, message: str) -> None:
            self.say(path, message)
            bad.add(str(path[0]))

        other_tools.say_all(values, data, wrong)
        rewrite(values, self.source, self.locate, wrong)
        spec = self.validate(values, bad)
        self.cross_check(spec, bad)
        if self.problems:
            unique = dict.fromkeys(self.problems)
            raise SpecError(sorted(unique, key=lambda p: (p.file != str(self.source), p.file, p.line or 0)))
        return spec

    def merge(self, settings: Sequence[str]) -> None:
        """Put families and overrides into the document; an override may also say which families there are."""
        found = overrides.parse_overrides(settings, self.document, self.source.parent)
        of_families = [one for one in found if one[0][:2] == ("search_space", "include")]
        for override in of_families:
            overrides.apply(self.document, override)
        includes.merge_families(self.document, self.source)
        for override in found:
            if override not in of_families:
                overrides.apply(self.document, override)

    def read_space(self, data: Mapping[str, Any], bad: set[str]) -> SearchSpace:
        try:
            if "search_space" in data:
                return SearchSpace.parse(
                    data["search_space"],
                    lambda path, message: self.document.problem(("search_space", *path), message),
                )
            if "search_space" not in bad:
                self.say(
                    ("search_space",),
                    "is missing; expected parameters, such as lr: {low: 1e-4, high: 1e-2, log: true}",
                )
        except SpecError as error:
            self.problems += error.problems
        bad.add("search_space")
        return SearchSpace(())

    def validate(self, values: dict[str, Any], bad: set[str]) -> StudySpec:
        """Return the spec; where it is wrong, say so and let stand-ins take the place of the keys concerned."""
        usable = {key: value for key, value in values.items() if key not in bad}
        usable |= {key: _STAND_INS[key] for key in bad & set(_STAND_INS)}
        try:
            return StudySpec.model_validate(usable)
        except ValidationError as error:
            for location, message in problems_in(error, StudySpec):
                path = tuple(key for key in location if key != "options")  # not a key of the YAML
                bad.add(str(path[0]))
                self.say(path, message)
        return self.validate(values, bad)

    def cross_check(self, spec: StudySpec, bad: set[str]) -> None:
        def valid(*keys: str) -> bool:
            return not bad & set(keys)

        if self.locate and valid("name") and (message := name_problem(spec.name)):
            self.say(("name",), message)
        names = [metric.name for metric in spec.metrics]
        for index, name in enumerate(names):
            if name in names[:index]:
                self.say(("metrics", index, "name"), f"the metric '{name}' is given twice; keep one of them")
        if valid("budget") and spec.sampler.name != "grid" and not spec.budget.says_end:
            self.say(("budget",), "says no end; expected trials, hours, gpu_hours or by, such as {trials: 50}")
        now = datetime.now().astimezone()
        if self.locate and valid("budget") and spec.budget.by is not None and spec.budget.by <= now:
            self.say(
                ("budget", "by"),
                f"{moment_text(spec.budget.by)} has passed, it is {moment_text(now)} now; expected a later time",
            )
        warm = spec.warm_start
        if valid("warm_start", "sampler") and warm and warm.sources is not None:
            if spec.sampler.name == "grid":
                self.say(
                    ("warm_start",), "has nothing to add to the sampler grid, which tries every cell; leave it out"
                )
            if is_population(spec):
                self.say(
                    ("warm_start",), "does not go with the sampler pbt, whose members begin at random; leave it out"
                )
        if spec.confirms and valid("budget", "confirm", "search_space", "group_by", "sampler"):
            for path, message in confirm_problems(spec):
                self.say(path, message)
        if valid("engine"):
            self.check_engine(spec.engine)
        for role in ("sampler", "pruner"):
            if valid(role):
                self.check_algorithm(role, getattr(spec, role), spec.root)
        if valid("sampler", "metrics") and spec.sampler.name == "cmaes" and len(names) > 1:
            message = f"'cmaes' takes one metric, there are {len(names)}; expected kernel, tpe, gp or nsga2"
            self.say(("sampler", "name"), message)
        of_sampler = [problem for problem in self.problems if problem.key.partition(".")[0] == "sampler"]
        concerned = ("sampler", "pruner", "metrics", "search_space", "budget", "constants", "group_by")
        if is_population(spec) and valid(*concerned) and not of_sampler:
            for path, message in population_problems(spec):
                self.say(path, message)
        if is_race(spec) and valid(*concerned) and not of_sampler:
            for path, message in race_problems(spec):
                self.say(path, message)
        if valid("objective", "command"):
            self.check_objective(spec, valid("search_space", "constants"))
        if valid("search_space"):
            self.check_parameters(spec, valid)

    def check_engine(self, engine: EngineSpec) -> None:
        if engine.name == "inline" and engine.gpu == "auto":
            self.say(("engine", "gpu"), "auto is for several trials at once, and inline runs one; expected a number")
        if engine.name == "inline" and engine.fresh_process:
            self.say(("engine", "fresh_process"), "is for engines with processes of their own; expected local or ray")
        for key in ("address", "resources", "runtime_env", "checkpoint_dir"):
            if engine.name != "ray" and getattr(engine, key):
                self.say(("engine", key), f"is for the ray engine, and this one is {engine.name}; expected name: ray")
        address = engine.address or ""
        if address.startswith("ray://"):
            self.say(
                ("engine", "address"),
                f"'{address}' is Ray Client, under which the study would be driven on the cluster's head, far from its "
                "runs folder; expected auto, on a machine of the cluster, or HOST:PORT of its head (port 6379)",
            )
        elif address not in ("", "auto") and not re.fullmatch(r"[^\s/:]+:\d+", address):
            self.say(("engine", "address"), f"'{address}' is no address; expected auto, or HOST:PORT of the head")

    def check_algorithm(self, role: Any, component: Component, root: Path) -> None:
        if ":" in component.name and not self.locate:
            return
        for key, message in algorithms.option_problems(role, component.name, component.options, root):
            self.say((role, key), message)

    def check_objective(self, spec: StudySpec, placeholders: bool) -> None:
        if (spec.objective is None) == (spec.command is None):
            if any(nearest(key, ("objective", "command")) for key in self.document.data if key not in KEYS):
                return  # the unknown key is most likely the one that is missing
            both = "objective and command are both given; keep one of them"
            neither = "is missing; expected module:function, file.py:function, or a command"
            self.say(("objective",), both if spec.objective is not None else neither)
            return
        ref = spec.objective_ref()
        if spec.command is not None:
            if placeholders:
                for path, message in command_line.command_problems(ref, spec.space, spec.constants):
                    self.say(("command", *path), message)
            if self.locate:
                for path, message in command_line.program_problems(ref):
                    self.say(("command", *path), message)
            return
        try:
            if self.locate:
                locate.locate(ref)
            else:
                locate.split_target(ref.target)
        except ObjectiveError as error:
            self.say(("objective",), str(error))

    def check_parameters(self, spec: StudySpec, valid: Callable[..., bool]) -> None:
        if spec.group_by is not None and valid("group_by"):
            can = [p.name for p in spec.space.parameters if p.kind == "categorical"]
            if spec.group_by not in can:
                expected = f"expected {listing(can)}" if can else "there is none"
                self.say(
                    ("group_by",),
                    f"'{spec.group_by}' is not a parameter with choices that every trial has; {expected}."
                    f"{nearest(spec.group_by, can)}",
                )
        if spec.sampler.name == "grid" and valid("sampler"):
            for parameter, message in spec.space.not_enumerable():
                self.say(_path(parameter), message)
        if self.locate:  # a study that ran before these were refused can be read
            self.check_constants(spec)
            self.check_size(spec.space)
            self.check_names(spec.space)
            if valid("sampler", "metrics"):
                for sampler in spec.samplers:
                    for parameter, message in refused_ranges(sampler.name, len(spec.metrics), spec.space):
                        self.say(_path(parameter), message)
        for key in ("enqueue", "fallbacks"):
            for index, params in enumerate(getattr(spec, key) if valid(key) else ()):
                for name, message in spec.space.translate(params)[1]:
                    self.say((key, index, name), message)

    def check_constants(self, spec: StudySpec) -> None:
        """Refuse a name that is searched and constant: the objective gets both, and reports would state both."""
        for parameter in spec.space.walk():
            constant = next((key for key in spec.constants if label(key) == parameter.name), None)
            if constant is None:
                continue
            place = self.document.place(_path(parameter))
            where = f"{place.file}:{place.line}" if place.line else place.file
            self.say(
                ("constants", constant),
                f"is searched too ({where}); keep one of them. To hold it at one value: "
                f"--set {dotted(_path(parameter))}={show(spec.constants[constant])}",
            )

    def check_size(self, space: SearchSpace) -> None:
        """Refuse spaces with which every trial would take minutes to store and to report."""
        parameters = tuple(space.walk())
        if len(parameters) > MOST_PARAMETERS:
            self.say(
                ("search_space",),
                f"has {len(parameters)} parameters, with those of choices; expected at most {MOST_PARAMETERS}. Values "
                "that stay fixed may stand below constants",
            )
        for parameter in parameters:
            if len(parameter.choices) > MOST_CHOICES:
                self.say(
                    _path(parameter),
                    f"has {len(parameter.choices)} choices; expected at most {MOST_CHOICES}, for Optuna stores "
                    "all of them with every trial. Whole numbers can be a range, {low: 0, high: 20000}",
                )

    def check_names(self, space: SearchSpace) -> None:
        """Refuse two parameters that would have one name in Optuna, where choices are joined by dots."""
        known: dict[str, Parameter] = {}
        for parameter in space.walk():
            other = known.setdefault(parameter.full_name, parameter)
            if other is not parameter:
                line = self.document.place(_path(other)).line
                self.say(
                    _path(parameter),
                    f"'{parameter.name}' where {parameter.condition_text} and '{other.name}' where "
                    f"{other.condition_text} (line {line}) would both be '{parameter.full_name}' in Optuna; rename one "
                    "of them, or a choice that holds a dot",
                )


def _path(parameter: Parameter) -> KeyPath:
    """Return the keys from the root of a study down to a parameter."""
    above = [part for name, choice in parameter.condition for part in (name, "choices", choice)]
    return ("search_space", *above, parameter.name)
