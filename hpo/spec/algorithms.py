"""Samplers and pruners by name, and what can be said of their options before a run."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from hpo.errors import ObjectiveError
from hpo.objective.load import import_module
from hpo.space.parameter import finite
from hpo.text import listing, nearest, quote

Role = Literal["sampler", "pruner"]

# grid: the Oracle enqueues the cells itself; the class draws only what no cell says.
SAMPLERS = {
    "grid": "optuna.samplers:RandomSampler",
    "random": "optuna.samplers:RandomSampler",
    "qmc": "optuna.samplers:QMCSampler",
    "kernel": "hpo.search.kernel_sampler:KernelSampler",
    "tpe": "optuna.samplers:TPESampler",
    "gp": "optuna.samplers:GPSampler",
    "cmaes": "optuna.samplers:CmaEsSampler",
    "nsga2": "optuna.samplers:NSGAIISampler",
}
PRUNERS = {
    "none": "optuna.pruners:NopPruner",
    "median": "optuna.pruners:MedianPruner",
    "percentile": "optuna.pruners:PercentilePruner",
    "successive_halving": "optuna.pruners:SuccessiveHalvingPruner",
    "hyperband": "optuna.pruners:HyperbandPruner",
    "threshold": "optuna.pruners:ThresholdPruner",
    "patient": "optuna.pruners:PatientPruner",
    "wilcoxon": "optuna.pruners:WilcoxonPruner",
}
# Set explicitly, for Optuna's own defaults differ between its versions (and its pruner is beaten
# clearly by this one on recorded training curves).
DEFAULTS: dict[str, dict[str, Any]] = {
    "tpe": {"multivariate": True, "group": True, "constant_liar": True},
    "qmc": {"scramble": True, "warn_independent_sampling": False},
    "gp": {"warn_independent_sampling": False},
    "cmaes": {"warn_independent_sampling": False},
    "successive_halving": {"min_resource": 1, "reduction_factor": 4},
}
# Packages that Optuna imports only when the sampler is used.
_NEEDS = {"gp": ("torch", "scipy"), "cmaes": ("cmaes",), "qmc": ("scipy",)}
# Constructing these imports torch.
_HEAVY = {"gp"}
_PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "None": (type(None),),
}


def names(role: Role) -> dict[str, str]:
    return SAMPLERS if role == "sampler" else PRUNERS


def with_defaults(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options given, and our defaults for those that are not."""
    merged = DEFAULTS.get(name, {}) | dict(options)
    if name == "tpe" and merged["multivariate"] is False and "group" not in options:
        merged["group"] = False  # Optuna groups only what it samples jointly
    return merged


def find_class(role: Role, name: str, root: str | Path = ".") -> type:
    """The class of a short name or of `package.module:Class` (imported, with `root` on the path).
    Raises ValueError with a sentence."""
    known = names(role)
    if name not in known and ":" not in name:
        raise ValueError(
            f"'{name}' is not a {role}; expected {listing(known)} or package.module:Class.{nearest(name, known)}"
        )
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


def option_problems(role: Role, name: str, options: Mapping[str, Any], root: str | Path = ".") -> list[tuple[str, str]]:
    """What is wrong with a sampler or pruner as (key, sentence) pairs: the key `name` or an option's."""
    try:
        cls = find_class(role, name, root)
    except ValueError as error:
        return [("name", str(error))]
    if name == "patient":
        return _wrapped_problems(options, root) or _own_problems(cls, name, options)
    missing = [package for package in _NEEDS.get(name, ()) if importlib.util.find_spec(package) is None]
    if missing:
        return [("name", f"the {role} '{name}' needs the package {listing(missing)}: pip install {' '.join(missing)}")]
    return _own_problems(cls, name, options)


def build(role: Role, name: str, options: Mapping[str, Any], root: str | Path = ".") -> Any:
    """An instance, quiet about Optuna's experimental arguments. Raises ValueError or TypeError."""
    from optuna.exceptions import ExperimentalWarning

    cls = find_class(role, name, root)
    arguments = with_defaults(name, options)
    if name == "patient":
        inner = arguments.get("wrapped_pruner")
        arguments["wrapped_pruner"] = None if inner is None else build("pruner", **split(inner), root=root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return cls(**arguments)


def split(written: Any) -> dict[str, Any]:
    """`median` or `{name: median, n_startup_trials: 3}` as name and options."""
    if isinstance(written, Mapping):
        return {"name": written.get("name"), "options": {k: v for k, v in written.items() if k != "name"}}
    return {"name": written, "options": {}}


def _wrapped_problems(options: Mapping[str, Any], root: str | Path) -> list[tuple[str, str]]:
    if options.get("wrapped_pruner") is None:
        return []
    inner = split(options["wrapped_pruner"])
    if not isinstance(inner["name"], str):
        return [("wrapped_pruner", f"{quote(options['wrapped_pruner'])} is not a pruner; expected {{name: ...}}")]
    return [("wrapped_pruner", message) for _, message in option_problems("pruner", **inner, root=root)]


def _own_problems(cls: type, name: str, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    parameters = {
        key: parameter
        for key, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    anything = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(cls).parameters.values())
    usable = [key for key, parameter in parameters.items() if key != "seed" and _writable(name, parameter)]
    problems = []
    for key, value in options.items():
        if key == "seed":
            problems.append((key, "is set by study.yaml's own key 'seed'; leave it out here"))
        elif key in parameters and key not in usable:
            problems.append((key, f"of '{name}' takes an object that YAML cannot write; leave it out"))
        elif key not in parameters and not anything:
            expected = f"expected {listing(usable, 20)}" if usable else "it has none"
            problems.append((str(key), f"is not an option of '{name}'; {expected}.{nearest(key, usable)}"))
        elif key in parameters and (kinds := _plain_kinds(parameters[key])) is not None and not _fits(value, kinds):
            problems.append((key, f"is {quote(value)}; expected {' or '.join(_SPELLED[kind] for kind in kinds)}"))
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in options:
            if name == "patient" and key == "wrapped_pruner":
                problems.append(("name", "'patient' needs wrapped_pruner: the pruner to be patient with, or null"))
            else:
                problems.append(("name", f"'{name}' needs the option '{key}'"))
    if not problems and name not in _HEAVY:
        try:
            build("pruner" if name in PRUNERS else "sampler", name, options) if ":" not in name else None
        except (ValueError, TypeError) as error:
            problems.append(("name", f"'{name}' refuses its options: {error}"))
    return problems


_SPELLED = {"int": "an integer", "float": "a number", "bool": "true or false", "str": "text", "None": "null"}


def _plain_kinds(parameter: inspect.Parameter) -> list[str] | None:
    """The plain types an argument is annotated with; None when it takes anything else too."""
    annotation = parameter.annotation
    written = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    kinds = [kind.strip() for kind in written.split("|")]
    return kinds if all(kind in _PLAIN for kind in kinds) else None


def _writable(name: str, parameter: inspect.Parameter) -> bool:
    """Whether YAML can say a value for the argument: not a function, nor an Optuna object."""
    if name == "patient" and parameter.name == "wrapped_pruner":
        return True
    written = str(parameter.annotation)
    return not any(word in written for word in ("Callable", "Base", "FrozenTrial", "ndarray", "SearchSpace"))


def _fits(value: Any, kinds: list[str]) -> bool:
    if isinstance(value, bool):
        return "bool" in kinds
    if isinstance(value, float) and not finite(value):
        return False
    return any(isinstance(value, _PLAIN[kind]) and kind != "bool" for kind in kinds)
