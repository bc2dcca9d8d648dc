"""Samplers and pruners by name, and what can be checked of their options before a run."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from hpo.errors import ObjectiveError, dotted
from hpo.objective.load import import_module
from hpo.objective.locate import check_class, find_module
from hpo.text import listing, nearest, quote
from hpo.validation import problems_in

Role = Literal["sampler", "pruner"]

# For a grid the Oracle enqueues the cells itself. Its class draws only what no cell sets. `hpo.spec.auto_sampler` says
# what `auto` stands for; its class is for spaces in which one sampler takes over from another.
SAMPLERS = {
    "auto": "hpo.search.auto_sampler:AutoSampler",
    "grid": "optuna.samplers:RandomSampler",
    "random": "optuna.samplers:RandomSampler",
    "qmc": "optuna.samplers:QMCSampler",
    "kernel": "hpo.search.kernel_sampler:KernelSampler",
    "tpe": "optuna.samplers:TPESampler",
    "gp": "optuna.samplers:GPSampler",
    "cmaes": "optuna.samplers:CmaEsSampler",
    "nsga2": "optuna.samplers:NSGAIISampler",
    "pbt": "hpo.search.pbt:PopulationSampler",
    "racing": "hpo.search.racing:RacingSampler",
}
# These take the option `history`, the number of finished trials that they see (`hpo.search.bounded_history`): what they
# do at an ask grows with the trials. It is not fewer than this.
BOUNDED, LEAST_HISTORY = ("tpe", "gp"), 100
# Trials of these samplers do not depend on what earlier ones gave.
NOT_ADAPTIVE = ("random", "grid", "qmc", "racing")
PRUNERS = {
    "none": "optuna.pruners:NopPruner",
    "halving": "hpo.search.halving:HalvingPruner",
    "median": "optuna.pruners:MedianPruner",
    "percentile": "optuna.pruners:PercentilePruner",
    "successive_halving": "optuna.pruners:SuccessiveHalvingPruner",
    "hyperband": "optuna.pruners:HyperbandPruner",
    "threshold": "optuna.pruners:ThresholdPruner",
    "patient": "optuna.pruners:PatientPruner",
    "wilcoxon": "optuna.pruners:WilcoxonPruner",
}
# These are set explicitly, for Optuna's own defaults differ between its versions.
DEFAULTS: dict[str, dict[str, Any]] = {
    "tpe": {"multivariate": True, "group": True, "constant_liar": True},
    "qmc": {"scramble": True, "warn_independent_sampling": False},
    "gp": {"warn_independent_sampling": False},
    "cmaes": {"warn_independent_sampling": False},
    "halving": {"min_resource": 1, "reduction_factor": 4},
    "successive_halving": {"min_resource": 1, "reduction_factor": 4},
}
# What other tools, and Optuna's classes, call them.
_OTHER_NAMES = {
    **{place.rpartition(":")[2].lower(): name for name, place in {**SAMPLERS, **PRUNERS}.items() if name != "grid"},
    **dict.fromkeys(("gridsampler", "bruteforcesampler", "grid_search", "gridsearch"), "grid"),
    **dict.fromkeys(("random_search", "randomsearch", "uniform"), "random"),
    **dict.fromkeys(("bayes", "bayesian", "bo", "optuna", "default"), "auto"),
    **dict.fromkeys(("gaussian_process", "botorch", "botorchsampler", "skopt", "bayesopt"), "gp"),
    **dict.fromkeys(("cma", "cma-es", "cma_es"), "cmaes"),
    **dict.fromkeys(("hyperopt", "hyperoptsearch", "optunasearch", "bohb", "tunebohb"), "tpe"),
    **dict.fromkeys(("sobol", "halton", "quasi_random"), "qmc"),
    **dict.fromkeys(("nsga", "nsgaii", "nsga-ii", "nsgaiiisampler", "evolutionary", "genetic"), "nsga2"),
    **dict.fromkeys(("populationbasedtraining", "population_based_training", "pb2"), "pbt"),
    **dict.fromkeys(("asha", "sha", "asynchyperband"), "successive_halving"),
    **dict.fromkeys(("ashascheduler", "asynchyperbandscheduler"), "successive_halving"),
    **dict.fromkeys(("hyperbandscheduler", "hyperbandforbohb", "hb"), "hyperband"),
    **dict.fromkeys(("medianstoppingrule", "median_stopping", "median_stop"), "median"),
    **dict.fromkeys(("nop", "fifo", "fifoscheduler", "off"), "none"),
    **dict.fromkeys(("early_stopping", "patience"), "patient"),
}
# Optuna imports these packages only when the sampler is used.
NEEDS = {"gp": ("torch", "scipy"), "cmaes": ("cmaes",), "qmc": ("scipy",)}
# An instance of these imports torch, which takes seconds.
_HEAVY = {"gp"}
# The one option that is a pruner itself.
_WRAPPED = ("patient", "wrapped_pruner")
# Types of options that YAML can write, by their annotation.
_TYPES: dict[str, Any] = {
    "int": Annotated[int, Field(strict=True)],
    "float": Annotated[float, Field(strict=True, allow_inf_nan=False)],
    "bool": Annotated[bool, Field(strict=True)],
    "str": str,
    "None": None,
}
# Annotations of options that YAML cannot write: functions, and objects of Optuna's.
_OBJECTS = ("Callable", "Base", "FrozenTrial", "ndarray", "SearchSpace")


def names(role: Role) -> dict[str, str]:
    """Return the classes of samplers or pruners by their short names."""
    return SAMPLERS if role == "sampler" else PRUNERS


def known_name(written: str) -> str:
    """Return hpo's name of a sampler or a pruner that is written in another tool's words; empty if there is none."""
    name = written.lower()
    return name if name in SAMPLERS or name in PRUNERS else _OTHER_NAMES.get(name, "")


def with_defaults(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options given, with hpo's defaults for those that are not."""
    merged = DEFAULTS.get(name, {}) | dict(options)
    if name == "tpe" and merged["multivariate"] is False and "group" not in options:
        merged["group"] = False  # Optuna groups only what it samples jointly
    return merged


def find_class(role: Role, name: str, root: str | Path = ".") -> type:
    """Return the class of a short name or of `package.module:Class`.

    The module is imported with `root` on the path.

    Raises:
        ValueError: there is none; the message is a sentence.
    """
    known = names(role)
    if name not in known and ":" not in name:
        meant = known_name(name)
        hint = f" Write '{meant}'" if meant in known else nearest(name, known)
        raise ValueError(f"'{name}' is not a {role}; expected {listing(known)} or package.module:Class.{hint}")
    module_name, _, attribute = known.get(name, name).partition(":")
    earlier = list(sys.path)
    try:
        module = importlib.import_module(module_name) if name in known else import_module(module_name, str(root))
    except ObjectiveError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # whatever a module of the user's raises at import
        raise ValueError(f"'{module_name}' cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path[:] = earlier
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise ValueError(f"'{module_name}' has no class '{attribute}'.{nearest(attribute, classes)}")
    import optuna

    base = optuna.samplers.BaseSampler if role == "sampler" else optuna.pruners.BasePruner
    if not issubclass(found, base):
        raise ValueError(f"'{name}' is not an Optuna {role}; expected a subclass of {base.__name__}")
    return found


def option_problems(
    role: Role, name: str, options: Mapping[str, Any], root: str | Path = ".", importing: bool = False
) -> list[tuple[str, str]]:
    """Return the mistakes in a sampler or pruner as (key, sentence) pairs; a key is `name` or an option's.

    Args:
        role: which of the two.
        name: a short name or `package.module:Class`.
        options: what the study sets.
        root: folder that the module is searched in.
        importing: import the module of a class, which runs its code; else it is only looked for, unless it is
            Optuna's, and its options are not checked.
    """
    if name == "auto" and role == "sampler":
        return [(key, _of_another(role, key)) for key in options]
    try:
        if ":" in name and not importing:
            module_name, _, attribute = name.partition(":")
            check_class(module_name, attribute, str(root))
            if not _is_optunas(module_name, str(root)):
                return []
        cls = find_class(role, name, root)
    except (ValueError, ObjectiveError) as error:
        return [("name", str(error))]
    if name == "patient":
        inner = str(split_options(options.get("wrapped_pruner"))["name"])
        if problems := _wrapped_problems(options, root, importing):
            return problems
        return [] if ":" in inner and not importing else _own_problems(role, cls, name, options, root)
    missing = [package for package in NEEDS.get(name, ()) if importlib.util.find_spec(package) is None]
    if missing:
        return [("name", f"the {role} '{name}' needs the package {listing(missing)}: pip install {' '.join(missing)}")]
    return _own_problems(role, cls, name, options, root)


def _of_another(role: Role, option: str) -> str:
    """Return that `auto` has no options, and which sampler has this one."""
    others = {name: _parameters(find_class(role, name)) for name in names(role) if name not in ("auto", "grid")}
    having = [name for name, known in others.items() if option in known and _writable(name, known[option])]
    having += [name for name in BOUNDED if option == "history"]
    if option == "seed":
        return "is set by study.yaml's own key 'seed'; leave it out here"
    hint = f"it is one of {listing(having)}: write that in place of auto" if having else "write the name of a sampler"
    return f"is an option, and the sampler auto has none; {hint}"


def _is_optunas(module_name: str, root: str) -> bool:
    """Return True for a module of the installed Optuna, whose import is no matter of trust."""
    return module_name.partition(".")[0] == "optuna" and find_module(module_name, root).folder is None


def build(role: Role, name: str, options: Mapping[str, Any], root: str | Path = ".") -> Any:
    """Return an instance, without Optuna's warnings of experimental arguments.

    Raises:
        ValueError: the class or its options are wrong.
        TypeError: an option is of the wrong type.
    """
    from optuna.exceptions import ExperimentalWarning

    cls = find_class(role, name, root)
    arguments = with_defaults(name, options)
    if name in BOUNDED:
        arguments.pop("history", None)  # of the view that it is asked with
    if name == "patient":
        inner = arguments.get("wrapped_pruner")
        arguments["wrapped_pruner"] = None if inner is None else build("pruner", **split_options(inner), root=root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return cls(**arguments)


def split_options(written: Any) -> dict[str, Any]:
    """Return `median` or `{name: median, n_startup_trials: 3}` as name and options."""
    if isinstance(written, Mapping):
        return {"name": written.get("name"), "options": {k: v for k, v in written.items() if k != "name"}}
    return {"name": written, "options": {}}


def _wrapped_problems(options: Mapping[str, Any], root: str | Path, importing: bool) -> list[tuple[str, str]]:
    if options.get("wrapped_pruner") is None:
        return []
    inner = split_options(options["wrapped_pruner"])
    if not isinstance(inner["name"], str):
        return [("wrapped_pruner", f"{quote(options['wrapped_pruner'])} is not a pruner; expected {{name: ...}}")]
    return [
        ("wrapped_pruner", message) for _, message in option_problems("pruner", **inner, root=root, importing=importing)
    ]


def _own_problems(
    role: Role, cls: type, name: str, options: Mapping[str, Any], root: str | Path
) -> list[tuple[str, str]]:
    """Return what is wrong with options as their class declares them, else what the class itself says of them."""
    problems = []
    for key in options:
        if key == "seed" or (name, key) == ("kernel", "group_by"):
            problems.append((key, f"is set by study.yaml's own key '{key}'; leave it out here"))
        elif key in _parameters(cls) and not _writable(name, _parameters(cls)[key]):
            problems.append((key, f"of '{name}' takes an object that YAML cannot write; leave it out"))
    refused = {key for key, _ in problems}
    model = options_model(role, cls, name)
    try:
        model.model_validate({key: value for key, value in options.items() if key not in refused})
    except ValidationError as error:
        problems += [(dotted(path), message) for path, message in problems_in(error, model)]
    if not problems and name in names(role) and name not in _HEAVY:
        # With a seed, as it will have one: without, Optuna's QMCSampler warns.
        seed = {"seed": 0} if "seed" in _parameters(cls) else {}
        try:
            build(role, name, {**options, **seed}, root)
        except (ValueError, TypeError) as error:
            problems.append(("name", f"'{name}' refuses its options: {error}"))
    return problems


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    return {
        key: parameter
        for key, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def options_model(role: Role, cls: type, name: str) -> type[BaseModel]:
    """Return a model of the options that a study may set, of a class of samplers or pruners."""
    fields: dict[str, Any] = {}
    for key, parameter in _parameters(cls).items():
        if key != "seed" and _writable(name, parameter):
            default = ... if parameter.default is parameter.empty else parameter.default
            # The option is an alias, for a class may name one like an attribute of pydantic's models.
            fields[f"option_{len(fields)}"] = (_type_of(name, parameter), Field(default, alias=key))
    if name in BOUNDED:
        fields["history"] = (Annotated[int, Field(strict=True, ge=LEAST_HISTORY)] | None, None)
    anything = any(one.kind is one.VAR_KEYWORD for one in inspect.signature(cls).parameters.values())
    config = ConfigDict(extra="allow" if anything else "forbid", title=f"the {role} '{name}'")
    return create_model(name, __config__=config, **fields)


def _type_of(name: str, parameter: inspect.Parameter) -> Any:
    """Return the type of an option, Any where it is more than numbers, text, true, false and null."""
    if (name, parameter.name) == _WRAPPED:
        return Annotated[Any, Field(description="the pruner to be patient with, or null")]
    annotation = parameter.annotation
    written = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    kinds = [kind.strip() for kind in written.split("|")]
    return reduce(or_, (_TYPES[kind] for kind in kinds)) if all(kind in _TYPES for kind in kinds) else Any


def _writable(name: str, parameter: inspect.Parameter) -> bool:
    """Return True if YAML can say a value for the option."""
    return (name, parameter.name) == _WRAPPED or not any(word in str(parameter.annotation) for word in _OBJECTS)
