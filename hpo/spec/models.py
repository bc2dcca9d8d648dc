"""Models of study.yaml: the parts of a study, once they are valid."""

from __future__ import annotations

import contextlib
import math
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from hpo.red_flags.definitions import DEFAULT as NON_FINITE
from hpo.red_flags.definitions import RedFlag
from hpo.space.search_space import SearchSpace
from hpo.spec.auto_sampler import AUTO, Choice, choose
from hpo.spec.plain_data import plain_data
from hpo.spec.yaml_document import dump
from hpo.text import Scalar, quote, redact
from hpo.trial import ObjectiveRef

__all__ = [
    "Budget",
    "Checkpoints",
    "Component",
    "ConfirmSpec",
    "EngineSpec",
    "Metric",
    "MlflowSpec",
    "StudySpec",
    "WarmStartSpec",
]

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[int, Field(strict=True, ge=0)]
Amount = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Goal = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Plain = Annotated[dict[str, Any], AfterValidator(plain_data)]


def _gpus(given: object) -> object:
    if given == "auto" or (isinstance(given, (int, float)) and not isinstance(given, bool) and 0 <= given < math.inf):
        return given if given == "auto" else float(given)
    raise PydanticCustomError("gpus", "a number of GPUs from 0, such as 0.5, 1 or 2, or auto")


Gpus = Annotated[
    float | Literal["auto"],
    PlainValidator(_gpus),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"const": "auto"}]}),
]


def _share(given: object) -> object:
    text = given[:-1].strip() if isinstance(given, str) and given.endswith("%") else None
    try:
        share = float(text) / 100 if text is not None else given
    except ValueError:
        share = given
    if isinstance(share, (int, float)) and not isinstance(share, bool) and 0 < share < 1:
        return float(share)
    raise PydanticCustomError("share", "a share, such as 20% or 0.2")


Share = Annotated[
    float,
    PlainValidator(_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[\s+0-9._eE-]+%$"},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            ]
        }
    ),
]
# The part of the hours that a confirmation takes where study.yaml does not say.
CONFIRMING = 0.2


def _moment(given: object) -> datetime:
    """Return a moment with its zone; one without is local."""
    if isinstance(given, datetime):  # of a budget that is made from another
        return given.astimezone()
    # A date alone could be its beginning or its end.
    if isinstance(given, str) and ":" in given:
        with contextlib.suppress(ValueError, OverflowError):
            return datetime.fromisoformat(given.strip()).astimezone()
    expected = 'a date and a time in quotes, "2026-12-01 09:00", or with its zone, "2026-12-01T09:00+08:00"'
    raise ValueError(f"{quote(given)} is not right; expected {expected}")


Moment = Annotated[
    datetime,
    PlainValidator(_moment),
    PlainSerializer(lambda at: at.isoformat(sep=" ")),
    WithJsonSchema({"type": "string", "pattern": ":"}),
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Metric(_Model):
    """A number that the objective returns, and its better direction. Pruners see the first one.

    Metrics that differ only in their goals are equal, for their values compare.

    Attributes:
        name: as the objective reports and returns it.
        direction: minimize or maximize.
        goal: a value that is good enough: reports say who reached it, and nothing stops there.
    """

    name: Annotated[Text, Field(description="the name of a metric")]
    direction: Literal["minimize", "maximize"]
    goal: Goal | None = None

    def identity(self) -> dict[str, Any]:
        """Return what may not change once the study has trials; the goal may."""
        return self.model_dump(exclude={"goal"})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Metric):
            return NotImplemented
        return (self.name, self.direction) == (other.name, other.direction)

    def __hash__(self) -> int:
        return hash((self.name, self.direction))

    def reaches_goal(self, value: float) -> bool:
        """Return True if there is a goal, and `value` is as good or better."""
        return self.goal is not None and self.cost(value) <= self.cost(self.goal)

    def cost(self, value: float) -> float:
        """Return `value` turned so that lower is better."""
        return -value if self.direction == "maximize" else value


class Component(_Model):
    """A sampler or a pruner.

    Attributes:
        name: a short name, or `package.module:Class`.
        options: its arguments.
    """

    name: Annotated[Text, Field(description="a name")]
    options: dict[str, Any] = {}

    def data(self) -> dict[str, Any]:
        """Return it as study.yaml says it."""
        return {"name": self.name, **self.options}


class Budget(_Model):
    """End of the study: the first of these that is reached, counted over all its runs.

    Attributes:
        trials: finished ones (complete, pruned, failed).
        hours: wall time.
        gpu_hours: the sum over trials of time x GPU share.
        by: no trial starts from this moment on.
        failures: the study stops at once if its first trials, so many, all failed.
        confirm: the share of all limits that confirms the best configurations at the end (`hpo confirm`).
    """

    trials: Count | None = None
    hours: Amount | None = None
    gpu_hours: Amount | None = None
    by: Moment | None = None
    failures: Count = 5
    confirm: Share | None = None

    @property
    def divides(self) -> bool:
        """True if it has a limit of which a part can be taken."""
        return any(limit is not None for limit in (self.trials, self.hours, self.gpu_hours))

    @property
    def says_end(self) -> bool:
        """True if one of its limits is set."""
        return self.divides or self.by is not None


class Retries(_Model):
    """Number of retries of a configuration, by the cause that ended its attempt.

    Causes that are not its doing (a stopped study, a lost node) are always retried.

    Attributes:
        lost: its worker died.
        exception: the objective raised one.
        timeout: it took too long.
    """

    lost: Number = 1
    exception: Number = 0
    timeout: Number = 0

    def for_cause(self, cause: str) -> int:
        """Return the number for a cause of `hpo.trial`; 0 for those that are never retried."""
        return int(getattr(self, cause, 0))


class EngineSpec(_Model):
    """Engine that runs the trials.

    Attributes:
        name: local, ray or inline.
        workers: processes at a time; None: as many as fit.
        cpu: threads of each; None: an even share.
        gpu: share of a GPU, or whole GPUs, of each; auto: as many trials beside each other as fit and pay off.
        trial_timeout: seconds; None: no limit.
        report_timeout: seconds between reports; None: no limit.
        retries: see Retries.
        fresh_process: each trial gets a process of its own, for objectives that leave something behind in theirs.
        address: of a running Ray cluster; None: one is started here.
        resources: more of Ray's resources that a trial needs.
        runtime_env: Ray's, for code that the nodes lack.
        checkpoint_dir: a folder that every node sees, for the trials' folders; None: the runs folder is one.
    """

    name: Literal["local", "ray", "inline"] = "local"
    workers: Count | None = None
    cpu: Count | None = None
    gpu: Gpus = 0.0
    trial_timeout: Amount | None = None
    report_timeout: Amount | None = None
    retries: Retries = Retries()
    fresh_process: Annotated[bool, Field(strict=True)] = False
    address: Text | None = None
    resources: dict[Text, Amount] = {}
    runtime_env: dict[str, Any] = {}
    checkpoint_dir: Path | None = None

    @property
    def gpus(self) -> float:
        """GPUs of a running trial, for the budget.

        One that shares its GPU as measured counts as a whole until its end says what it held.
        """
        return 1.0 if self.gpu == "auto" else self.gpu

    @property
    def gpu_text(self) -> str:
        """The GPU share in words: `0.5 GPU each`; empty without GPUs."""
        if self.gpu == "auto":
            return "GPUs shared as measured"
        return f"{self.gpu:g} GPU{'s' * (self.gpu > 1)} each" if self.gpu else ""


class Checkpoints(_Model):
    """Limits of the checkpoints and weights that stay on disk.

    Attributes:
        keep_best: those of so many best trials of each group; None: of all.
        max_gb: at most so many GB (10^9 bytes) of them; None: no limit.
    """

    keep_best: Count | None = 3
    max_gb: Amount | None = None

    def data(self) -> dict[str, Any]:
        """Return it as study.yaml says it."""
        limit = {} if self.max_gb is None else {"max_gb": self.max_gb}
        return {"keep_best": "all" if self.keep_best is None else self.keep_best, **limit}


class MlflowSpec(_Model):
    """Place of the MLflow runs, and the trials that have one.

    Attributes:
        tracking_uri: None: $MLFLOW_TRACKING_URI, else a SQLite file in the runs folder.
        experiment: None: one named after the study.
        trials: number of best trials that have a run; None: all have one.
    """

    tracking_uri: Text | None = None
    experiment: Text | None = None
    trials: Count | None = None

    def data(self) -> dict[str, Any]:
        """Return it as study.yaml says it, without passwords."""
        given = {"tracking_uri": self.tracking_uri, "experiment": self.experiment}
        written = {key: redact(text) for key, text in given.items() if text is not None}
        return written | ({} if self.trials is None else {"trials": f"best {self.trials}"})


class WarmStartSpec(_Model):
    """Earlier studies to begin from.

    Attributes:
        sources: `from` in YAML: auto, or names of studies and knowledge files. None: study.yaml has no `warm_start`.
            Then it is as auto, but for samplers that do not choose by results, and decided at the first start.
        trials: number of their configurations to try.
        guard: number of reports for which the pruner does not end these, unless they wait at a rung; None: see
            `hpo.warm_start.trust.guard_of`.
    """

    sources: Literal["auto"] | tuple[Text, ...] | None = Field(default=None, alias="from")
    trials: Count = 2
    guard: Number | None = None


class ConfirmSpec(_Model):
    """Confirmation of the best configurations at the end of `hpo run`, as `hpo confirm` does it.

    Attributes:
        top: number of them.
        seeds: seeds at most that choose, and as many that estimate the winner.
        per_group: `top` of each value of `group_by`.
    """

    top: Count = 5
    seeds: Annotated[int, Field(strict=True, ge=2)] = 5
    per_group: Annotated[bool, Field(strict=True)] = False

    def most(self, groups: int) -> int:
        """Return the trainings that it takes at most in a study with so many values of `group_by`."""
        races = max(groups, 1) if self.per_group else 1
        return (races * (self.top + 1) + 2) * self.seeds


KERNEL = Component(name="kernel", options={"n_startup_trials": 16, "random_fraction": 0.2})
HALVING = Component(
    name="halving",
    options={
        "min_resource": 1,
        "reduction_factor": 4,
        "first_reduction_factor": 2,
        "window": 32,
        "promotion": True,
    },
)


class StudySpec(_Model):
    """A study; `hpo.spec.load.load_spec` reads one.

    Attributes:
        name: the study's, and that of its folder in the runs folder.
        objective: `module:function` or `file.py:function` that trains one trial; this or `command` is set.
        command: a program and its arguments, with `{parameter}` placeholders. A list inside is left out of trials that
            lack a parameter of it.
        root: the folder that is put first on sys.path, in which a command runs and from which file names count: the
            YAML's own unless it says otherwise.
        metrics: what the objective returns; several give a Pareto front. The pruner looks at the first one.
        group_by: the parameter within whose values trials are compared, such as `architecture`.
        min_complete: the least number of complete trials of each value of `group_by`, if the budget allows; 0: no care
            is taken.
        space: `search_space` in YAML: the parameters by name: ranges, choices, weights that sum to 1, fixed values.
            `include` takes in families of them.
        constants: values that every trial gets unchanged.
        sampler: the method that proposes configurations: a name, or a name with its options.
        pruner: the method that stops trials early: a name, or a name with its options.
        red_flags: rules that stop a faulty trial, or warn of it.
        enqueue: configurations to try first; parameters left out are sampled.
        fallbacks: configurations to try, one after the other, while no trial has passed the red flags.
        warm_start: earlier studies to begin from; None (`false` in YAML): none.
        confirm: confirmation of the best configurations with fresh seeds, at the end of `hpo run`.
        budget: when the study ends: the first limit that is reached.
        engine: where the trials run, and with how much of the machine.
        storage: URL of the Optuna storage; None: the journal of the runs folder.
        mlflow: place of the MLflow runs; None (`false` in YAML): no tracking.
        checkpoints: the checkpoints and weights that stay on disk.
        seed: decides the sampler and, with its number, every trial's own seed.
        trial_seeds: seeds of the first trials; the others get theirs from `seed`.
        source: the YAML it was read from; it does not count when two specs are compared.
    """

    name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
            description="a name for the study, of letters, digits, '.', '_' and '-', a letter or digit first",
        ),
    ]
    objective: Text | None = None
    command: tuple[str | tuple[str, ...], ...] | None = None
    root: Path
    metrics: Annotated[
        tuple[Metric, ...],
        Field(
            min_length=1,
            description="a list of what the objective returns, at least one: [{name: val_loss, direction: minimize}]",
        ),
    ]
    group_by: Text | None = None
    min_complete: Number = 3
    space: SearchSpace
    constants: Plain = {}
    sampler: Component = Component(name=AUTO)
    pruner: Component = HALVING
    red_flags: tuple[RedFlag, ...] = NON_FINITE
    enqueue: tuple[Plain, ...] = ()
    fallbacks: tuple[Plain, ...] = ()
    warm_start: WarmStartSpec | None = WarmStartSpec()
    confirm: Annotated[
        ConfirmSpec | None, Field(description="true, false, or a mapping such as {top: 5, seeds: 5}")
    ] = None
    budget: Annotated[Budget, Field(description="a mapping that says when to stop, such as {trials: 50} or {hours: 8}")]
    engine: EngineSpec = EngineSpec()
    storage: Text | None = None
    mlflow: MlflowSpec | None = MlflowSpec()
    checkpoints: Checkpoints = Checkpoints()
    seed: Seed = 42
    trial_seeds: tuple[Seed, ...] = ()
    source: Path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StudySpec):
            return NotImplemented
        if [metric.goal for metric in self.metrics] != [metric.goal for metric in other.metrics]:
            return False
        pairs = ((getattr(self, name), getattr(other, name)) for name in StudySpec.model_fields if name != "source")
        return all(mine == theirs or repr(mine) == repr(theirs) for mine, theirs in pairs)  # NaN is not equal to NaN

    __hash__ = None  # type: ignore[assignment]  # it holds dicts

    def objective_ref(self) -> ObjectiveRef:
        """Return the place of the objective, with file names made absolute."""
        target = self.objective or ""
        place, colon, function = target.rpartition(":")
        if place.endswith(".py"):
            target = f"{self.root / place}{colon}{function}"
        return ObjectiveRef(target=target, command=self.command or (), root=str(self.root))

    @property
    def groups(self) -> tuple[Scalar, ...]:
        """Values of `group_by`; none without one."""
        found = self.space.find(self.group_by) if self.group_by else []
        return found[0].choices if found else ()

    @property
    def confirms(self) -> bool:
        """True if `hpo run` confirms the best configurations at its end."""
        return self.confirm is not None or self.budget.confirm is not None

    @property
    def confirm_budget(self) -> Budget:
        """The part of the budget that confirms: `budget.confirm` of each limit.

        Without it, as many trials as `confirm` may take, and CONFIRMING of the hours.
        """
        given, share = self.budget, self.budget.confirm or CONFIRMING
        trials = None
        if given.trials is not None:
            design = self.confirm.most(len(self.groups)) if self.confirm and given.confirm is None else None
            trials = design or max(1, int(share * given.trials + 1e-9))
        hours, gpu_hours = (None if limit is None else share * limit for limit in (given.hours, given.gpu_hours))
        return Budget(trials=trials, hours=hours, gpu_hours=gpu_hours, by=given.by)

    @property
    def search_budget(self) -> Budget:
        """The budget of the search: what a confirmation at its end does not take."""
        if not self.confirms:
            return self.budget
        ours, theirs = self.budget, self.confirm_budget
        left = {
            name: max(getattr(ours, name) - getattr(theirs, name), 1 if name == "trials" else 0.0)
            for name in ("trials", "hours", "gpu_hours")
            if getattr(ours, name) is not None
        }
        return ours.model_copy(update=left)

    @property
    def structural(self) -> tuple[str, ...]:
        """Names of the parameters that shape a trial, as the objective sees them: structural ones and `group_by`."""
        names = [parameter.name for parameter in self.space.walk() if parameter.structural]
        return tuple(dict.fromkeys([*names, *([self.group_by] if self.group_by else [])]))

    @property
    def auto_choice(self) -> Choice | None:
        """Choice that `sampler: auto` stands for; None of a study that names its sampler."""
        if self.sampler.name != AUTO:
            return None
        return choose(self.space, len(self.metrics), self.search_budget.trials)

    @property
    def samplers(self) -> tuple[Component, ...]:
        """The samplers that propose: the one that is named, or what `auto` stands for, the first one first."""
        if (choice := self.auto_choice) is None:
            return (self.sampler,)
        return tuple(KERNEL if name == KERNEL.name else Component(name=name) for name in choice.names)

    @property
    def tries_each_once(self) -> bool:
        """True if the study ends when every configuration was tried once: a grid, or `auto` in a finite space."""
        if self.sampler.name != AUTO:
            return self.sampler.name == "grid"
        return (self.space.grid_size() or 1) > 1

    @property
    def starts_each_trial(self) -> bool:
        """True if each trial waits for the start of a process: of its command, or as `engine.fresh_process` asks."""
        return self.objective is None or self.engine.fresh_process

    @property
    def uses_rest(self) -> bool:
        """True if each configuration is tried once, and those that wait have the time that the budget leaves."""
        limits = self.search_budget
        timed = (limits.hours, limits.gpu_hours, limits.by) != (None, None, None)
        return timed and self.tries_each_once and self.planned_trials() == self.space.grid_size()

    def planned_trials(self) -> int | None:
        """Return the number of trials if it is known: the budget's, or as many configurations as are tried once."""
        known = [self.search_budget.trials, self.space.grid_size() if self.tries_each_once else None]
        return min((number for number in known if number is not None), default=None)

    def identity(self) -> dict[str, Any]:
        """Return what may not change once the study has trials, as plain data (see `hpo.spec.identity`)."""
        return {
            "search_space": self.space.data(),
            "metrics": [metric.identity() for metric in self.metrics],
            "objective": self.objective if self.objective is not None else _lists(self.command),
            "constants": self.constants,
        }

    def data(self) -> dict[str, Any]:
        """Return plain data with the keys of study.yaml in their order, without passwords."""
        written: dict[str, Any] = {"name": self.name, "root": str(self.root)}
        if self.objective is not None:
            written["objective"] = self.objective
        else:
            written["command"] = _lists(self.command)
        written["metrics"] = [metric.model_dump(exclude_none=True) for metric in self.metrics]
        if self.group_by is not None:
            written |= {"group_by": self.group_by, "min_complete": self.min_complete}
        written |= {
            "search_space": self.space.data(),
            "constants": self.constants,
            "sampler": self.sampler.data(),
            "pruner": self.pruner.data(),
            "red_flags": [flag.data() for flag in self.red_flags],
            "enqueue": list(self.enqueue),
            "fallbacks": list(self.fallbacks),
            **({"confirm": self.confirm.model_dump()} if self.confirm is not None else {}),
            "budget": self.budget.model_dump(exclude_none=True),
            "engine": self.engine.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
            | {"name": self.engine.name},
        }
        if self.warm_start is None:
            written["warm_start"] = False
        elif self.warm_start.sources is not None:
            written["warm_start"] = self.warm_start.model_dump(mode="json", by_alias=True, exclude_none=True)
        if self.storage is not None:
            written["storage"] = redact(self.storage)
        written["mlflow"] = False if self.mlflow is None else self.mlflow.data()
        written["checkpoints"] = self.checkpoints.data()
        written["seed"] = self.seed
        return written | ({"trial_seeds": list(self.trial_seeds)} if self.trial_seeds else {})

    def to_yaml(self) -> str:
        """Return canonical YAML with absolute paths and without passwords.

        `load_spec` reads it back to an equal spec, but for the passwords.
        """
        return dump(self.data())


def _lists(command: tuple[str | tuple[str, ...], ...] | None) -> list[Any]:
    return [part if isinstance(part, str) else list(part) for part in command or ()]
