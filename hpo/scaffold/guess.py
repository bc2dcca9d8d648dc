"""Ranges by name and default: what a setting of a script most likely is, and how it is usually searched.

Every range holds the script's own value, so that the study can try it first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from hpo.scaffold.draft import MISSING, Setting
from hpo.space.other_tools import inline

PARAMETER, CONSTANT, SEED, DIRECTORY, LEAVE = "parameter", "constant", "seed", "directory", "leave"


@dataclass(frozen=True)
class Guess:
    """Role of a setting in a study.

    Attributes:
        role: PARAMETER (searched), CONSTANT, SEED and DIRECTORY (the trial's), LEAVE (as the script has it).
        name: how the study calls it.
        declared: the range of a parameter, or the value of a constant.
        why: a few words on the reason.
        decide: what a person must decide; empty: nothing.
        possible: the range that a number could be searched in whose name is not known.
    """

    role: str
    name: str
    declared: Any = None
    why: str = ""
    decide: str = ""
    possible: Any = None


# Names that have one spelling in studies, so that reports and warm starts of studies know them again.
_SAME = {
    **dict.fromkeys(("lr", "learningrate", "base_lr", "init_lr", "initial_lr", "lr0", "eta", "lr_init", "lr_start",
                     "learn_rate", "learning_rate_init", "eta0"), "learning_rate"),
    **dict.fromkeys(("bs", "batch", "batchsize", "train_batch_size", "per_device_train_batch_size", "batch_sz",
                     "mb_size"), "batch_size"),
    **dict.fromkeys(("wd", "weightdecay", "weight_decay_rate"), "weight_decay"),
    **dict.fromkeys(("n_epochs", "num_epochs", "max_epochs", "nepochs", "epoch", "nb_epochs", "nb_epoch",
                     "num_train_epochs", "train_epochs", "total_epochs"), "epochs"),
}  # fmt: skip
_SEEDS = {"seed", "random_seed", "random_state", "manual_seed", "rng_seed"}
# Whether a setting is where the run writes to: it gets the trial's folder, for trials run beside each other.
_OUTPUT = re.compile(
    r"(^|_)(out|output|outputs|save|saved|log|logs|logging|results?|run|runs|work|working|artifacts?|tensorboard|tb)_?"
    r"(dir|directory|folder|path)$|(^|_)(checkpoints?|ckpt|default_root)_?(dir|directory|folder)$"
    r"|^(outdir|savedir|logdir|workdir|output|out|results)$"
)
_FIXED_WORDS = {
    *("data", "dataset", "datasets", "datadir", "path", "paths", "dir", "directory", "root", "folder", "file", "files"),
    *("filename", "csv", "url", "uri", "workers", "threads", "thread", "device", "devices", "cuda", "gpu", "gpus"),
    *("cpu", "cpus", "tpu", "tpus", "mps", "rank", "local", "world", "port", "host", "node", "nodes", "dist"),
    *("distributed", "backend", "interval", "every", "freq", "frequency", "verbose", "verbosity", "debug", "quiet"),
    *("log", "logs", "logging", "print", "save", "load", "resume", "checkpoint", "ckpt", "export", "plot", "show"),
    *("wandb", "project", "entity", "mlflow", "experiment", "run", "tag", "tags", "name", "version", "comment"),
    *("eval", "evaluate", "test", "testing", "val", "valid", "validation", "predict", "only", "dry", "fast", "dev"),
    *("classes", "vocab", "vocabulary", "patience", "epochs", "epoch", "steps", "step", "iterations", "iters"),
    *("iteration", "max", "samples", "limit", "fold", "folds", "split", "splits", "fraction", "subset", "pin"),
    *("precision", "amp", "fp16", "bf16", "half", "compile", "deterministic", "benchmark", "profile", "profiler"),
    *("config", "cfg", "accelerator", "strategy", "prefetch", "cache", "download", "ngpu", "nproc", "gpuid", "user"),
    *("image", "img", "input", "inputs", "crop", "resolution", "length", "len", "timeout", "password", "token", "key"),
    *("mean", "std", "in", "threshold", "eps", "epsilon", "min", "final", "metric", "monitor", "mode", "ema", "memory"),
    *("accumulate", "accumulation", "target", "dummy", "fake", "smoke", "sanity", "overwrite", "force", "toy"),
    *("mock", "demo"),
    *("synthetic", "continue", "restart", "clean", "no", "push", "upload", "email", "notify", "progress", "bar"),
}  # fmt: skip
# Switches that are worth a search; of others a person is asked.
_SWITCHES = {
    *(
        "augment",
        "augmentation",
        "aug",
        "nesterov",
        "amsgrad",
        "pretrained",
        "freeze",
        "frozen",
        "bn",
        "batchnorm",
        "norm",
    ),
    *("bias", "residual", "attention", "bidirectional", "mixup", "cutmix", "flip", "shuffle", "weighted", "balanced"),
    *("weights", "dropout", "normalize", "standardize", "skip", "scheduler", "warmup", "oversample", "class", "cosine"),
}
_SHAPES = {"arch", "architecture", "model", "backbone", "net", "network", "encoder", "decoder"}

Rule = Callable[[Any], dict[str, Any] | None]


def _rounded(value: float, digits: int = 2) -> float:
    return float(f"{value:.{digits}g}")


def _decades(value: Any, low: float, high: float, around: float, most: float = math.inf) -> dict[str, Any]:
    """Return a logarithmic range around a default, or the usual one where there is none."""
    if not _positive(value):
        return {"low": low, "high": high, "log": True}
    # A value at the edge of what is possible stays in its range.
    return {
        "low": _rounded(value / around),
        "high": max(float(value), min(_rounded(value * around), most)),
        "log": True,
    }


def _between(value: Any, low: float, high: float) -> dict[str, Any]:
    if not _number(value):
        return {"low": low, "high": high}
    return {"low": min(low, float(value)), "high": max(high, float(value))}


def _integers(value: Any, low: int, high: int) -> dict[str, Any] | None:
    if _number(value) and value != int(value):
        return None
    return (
        {"low": min(low, int(value)), "high": max(high, int(value))} if _number(value) else {"low": low, "high": high}
    )


def powers_of_two(value: Any, usual: tuple[int, ...]) -> dict[str, Any] | None:
    """Return three sizes: half, once and twice a default, or the powers of two about one that is none."""
    if not _number(value):
        return {"choices": list(usual)}
    if value != int(value) or value < 1:
        return None
    size = int(value)
    if size & (size - 1):
        below = 1 << (size.bit_length() - 1)
        return {"choices": [below, size, 2 * below]}
    return {"choices": sorted({max(size // 2, 1), size, 2 * size})}


def _layers(value: Any) -> dict[str, Any] | None:
    if not _number(value):
        return {"low": 1, "high": 4, "structural": True}
    found = _integers(value, max(1, int(value) - 2), int(value) + 2)
    return found and found | {"structural": True}


def _width(value: Any) -> dict[str, Any] | None:
    found = powers_of_two(value, (32, 64, 128))
    return found and found | {"structural": True}


def _times(value: Any, low: int, high: int) -> dict[str, Any] | None:
    if not _positive(value) or value != int(value):
        return {"low": low, "high": high, "log": True} if not _number(value) else None
    return {"low": max(1, int(value) // 4), "high": int(value) * 4, "log": True}


def _momentum(value: Any) -> dict[str, Any] | None:
    if _number(value) and not 0 <= value < 1:
        return None
    return _between(value, 0.0 if value == 0 else 0.8, 0.99)


def _gamma(value: Any) -> dict[str, Any] | None:
    if _number(value) and 0 < value < 1:
        return {"low": min(0.1, float(value)), "high": max(0.99, float(value))}
    return _between(value, 0.0, 5.0)


def _bins(value: Any) -> dict[str, Any] | None:
    usual = {5, 10, 20, 30}
    if not _number(value):
        return {"choices": sorted(usual)}
    return {"choices": sorted({*usual, int(value)})} if value == int(value) and value >= 1 else None


def _positives(value: Any) -> dict[str, Any] | None:
    """Return how often a sample of the rare class counts: once is no weight."""
    if not _number(value):
        return {"low": 1.0, "high": 50.0, "log": True}
    return {"low": min(1.0, float(value)), "high": max(50.0, 2.0 * value), "log": True} if value > 0 else None


def _part(low: float, high: float) -> Rule:
    """Return a rule for what lies between 0 and 1, ends included."""
    return lambda value: _between(value, low, high) if not _number(value) or 0 <= value <= 1 else None


_LOSS_WEIGHT = "a decade to either side of a weight"
# Parameters of losses, by the whole name, for `gamma`, `momentum` and `alpha` mean other things elsewhere. Ranges are
# those of hpo's families in search_spaces/. As with `_RULES` the first that matches counts.
_LOSS_RULES: tuple[tuple[re.Pattern[str], Rule, str], ...] = tuple(
    (re.compile(pattern), rule, why)
    for pattern, rule, why in (
        (r"(^|_)(focal|fl|loss|criterion)(_loss|_args|_params|_kwargs)?_?gamma$|(^|_)gamma_(focal|fl)$",
         lambda value: _between(value, 0.0, 5.0), "of a focal loss; 0 is cross-entropy"),
        (r"(^|_)(focal|fl)(_loss)?_?alpha$|(^|_)alpha_(focal|fl)$", _part(0.05, 0.95),
         "of a focal loss; the weight of the positives"),
        (r"(^|_)ghm(_[a-z]+)*_bins$|(^|_)bins_ghm$", _bins, "of GHM; small batches fill few"),
        (r"(^|_)ghm(_[a-z]+)*_(momentum|mmt)$|(^|_)(momentum|mmt)_ghm$", _part(0.0, 0.95),
         "of GHM; 0 counts each batch by itself"),
        (r"(^|_)ghm(_[a-z]+)*_alpha$|(^|_)alpha_ghm$", _part(0.0, 1.0), "of GHM; 0 is the plain loss"),
        (r"(^|_)tversky(_loss)?_(alpha|beta)$", _part(0.1, 0.9), "of a Tversky loss; 0.5 is Dice"),
        (r"(^|_)(pos|positive|positives|fg|foreground|minority|rare|class)_?(class_)?(weight|w)$", _positives,
         "1 is no weight; negatives / positives balances"),
        (r"^w_\w+$|(^|_)weight_(?!decay)(\w+_)?loss$|(^|_)loss_weight_\w+$|(^|_)lambda\w*$"
         r"|(^|_)(loss|losses|weights?)_(\w+_)?(seg|segmentation|cls|class|classification|reg|regression|aux|bce|ce|dice"
         r"|focal|ghm|l1|l2|mse|mae|consistency|contrastive|recon|kl|rank|ranking)(_weight|_w)?$"
         r"|(^|_)(seg|segmentation|cls|classification|reg|regression|aux|bce|ce|dice|focal|ghm|mse|mae|consistency"
         r"|contrastive|recon|kl|rank|ranking|\w+_loss)_(weight|w|lambda|coef)$",
         lambda value: _decades(value, 0.1, 10.0, 10), _LOSS_WEIGHT),
    )
)  # fmt: skip
# The first that matches a name, in lower case with `_` between its words, says how it is searched and why.
_RULES: tuple[tuple[re.Pattern[str], Rule, str], ...] = tuple(
    (re.compile(pattern), rule, why)
    for pattern, rule, why in (
        (r"(^|_)(?<!min_)(?<!final_)(?<!end_)(lr|learning_rate|eta)$|^lr_(\w+_)?(head|backbone|encoder|decoder|g|d|max|init|\d)$",
         lambda value: _decades(value, 1e-4, 1e-2, 10, 1.0) if not _number(value) or value > 0 else None,
         "a decade to either side"),
        (r"(^|_)(batch|batch_size|bs|minibatch_size)$", lambda value: powers_of_two(value, (16, 32, 64)),
         "powers of two"),
        (r"(^|_)(weight_decay|wd|l2|l2_reg|l2_penalty|l1|reg_alpha|reg_lambda)$",
         lambda value: _decades(value, 1e-6, 1e-2, 10),
         "a decade to either side"),
        (r"(^|_)(dropout|drop|dropout_rate|drop_rate|p_drop|drop_path|drop_prob|dropout_p|dropout_prob)(_?\d+)?$",
         lambda value: _between(value, 0.0, 0.5), "the usual range"),
        (r"(^|_)label_smoothing$|^smoothing$", lambda value: _between(value, 0.0, 0.2), "the usual range"),
        (r"(^|_)momentum$", _momentum, "the usual range"),
        (r"(^|_)(beta_?1|b1|adam_beta_?1)$", lambda value: _between(value, 0.85, 0.95), "the usual range"),
        (r"(^|_)(beta_?2|b2|adam_beta_?2)$", lambda value: _between(value, 0.95, 0.999), "the usual range"),
        (r"(^|_)max_depth$", lambda value: _integers(value, 2, max(10, 2 * int(value)) if _number(value) else 10),
         "the usual range of a tree's depth"),
        (r"(^|_)(num_layers|n_layers|nlayers|layers|depth|num_blocks|n_blocks|blocks|num_hidden_layers|levels)$",
         _layers, "two fewer to two more"),
        (r"(^|_)(hidden|hidden_size|hidden_dim|hidden_units|n_hidden|num_hidden|hidden_channels|hidden_features|units"
         r"|n_units|num_units|width|base_width|dim|d_model|embed_dim|embedding_dim|emb_dim|emb_size|embedding_size"
         r"|latent_dim|channels|n_channels|base_channels|filters|n_filters|num_filters|base_filters|features|n_features"
         r"|mlp_dim|ffn_dim|d_ff|rnn_size|nhid|nhidden)(_?\d+)?$",
         _width, "half, once and twice"),
        (r"(^|_)(grad_clip|clip|clip_grad|clip_norm|max_norm|max_grad_norm|gradient_clip|gradient_clip_val"
         r"|grad_clip_norm)$",
         lambda value: _decades(value, 0.1, 10.0, 10) if value is MISSING or _positive(value) else None,
         "a decade to either side"),
        (r"(^|_)(warmup|warmup_epochs|warm_up_epochs|n_warmup|warmup_steps|num_warmup_steps)$",
         lambda value: _integers(value, 0, max(5, 2 * int(value)) if _number(value) else 5), "from none on"),
        (r"(^|_)warmup_(ratio|fraction|proportion)$", lambda value: _between(value, 0.0, 0.2), "from none on"),
        (r"(^|_)(n_estimators|num_trees|n_trees|num_boost_round|num_leaves)$", lambda value: _times(value, 50, 800),
         "a quarter to four times"),
        (r"(^|_)(subsample|colsample\w*|feature_fraction|bagging_fraction|max_features)$",
         lambda value: _between(value, 0.5, 1.0), "from a half"),
        (r"(^|_)min_(child_weight|samples_leaf|child_samples)$", lambda value: _integers(value, 1, 20),
         "the usual range"),
        (r"(^|_)min_samples_split$", lambda value: _integers(value, 2, 20), "the usual range"),
        (r"^(mixup|cutmix)(_alpha)?$", lambda value: _between(value, 0.0, 1.0), "the usual range"),
        (r"(^|_)gamma$", _gamma, "of a focal loss, or of a schedule"),
        (r"(^|_)(temperature|temp|tau|margin)$", lambda value: _decades(value, 0.05, 1.0, 5),
         "a fifth to five times"),
        (r"(^|_)(loss_weight|\w+_lambda|coef|coeff|\w*_coeff?)$",
         lambda value: _decades(value, 0.1, 10.0, 10), _LOSS_WEIGHT),
        (r"^c$", lambda value: _decades(value, 1e-2, 1e2, 100), "two decades to either side"),
    )
)  # fmt: skip
# What the range alone does not settle.
_DECIDE = {
    "of a focal loss, or of a schedule": "a focal loss's gamma is 0 to 5, a schedule's factor 0.1 to 0.99: which?",
    _LOSS_WEIGHT: "is this the range in which the weight makes a difference?",
    "a fifth to five times": "is this the range in which it makes a difference?",
}


def guess(setting: Setting) -> Guess:
    """Return what a setting is, by its name, its default and what the script says of it."""
    plain = snake(setting.name)
    last = plain.rpartition(".")[2]
    name = _SAME.get(last, last)
    words = {word for word in re.split(r"[._]", plain) if word}
    free = not (setting.choices or setting.forms or setting.flag)
    if last in _SEEDS and free and setting.kind in ("", "int", "text"):
        return Guess(SEED, "seed", why="the trial's own seed")
    if (
        _OUTPUT.search(last)
        and free
        and setting.kind in ("", "text")
        and (setting.required or isinstance(setting.value, str))
    ):
        return Guess(DIRECTORY, name, why="the trial's own folder")
    if name == "epochs":
        return _constant(setting, name, "how long a trial trains")
    if "batch" in words and words & {"eval", "test", "val", "valid", "validation"}:
        return _constant(setting, name, "of validation: it changes no result")
    if setting.choices:
        return _of_choices(setting, name, words)
    if setting.kind == "bool":
        return _of_bool(setting, name, words)
    if setting.kind in ("", "float", "int") and (setting.value is MISSING or _number(setting.value)):
        # A text of digits is none of these, and neither is true or false.
        whole = plain.replace(".", "_")
        rules = [(found, whole) for found in _LOSS_RULES] + [(found, name) for found in _RULES]
        for (pattern, rule, why), called in rules:
            declared = rule(setting.value) if pattern.search(called) else None
            if declared is not None and _holds(declared, setting):
                return Guess(PARAMETER, name, _typed(declared, setting), why, _DECIDE.get(why, ""))
    if words & _FIXED_WORDS:
        return _constant(setting, name, "")
    if _number(setting.value) and setting.kind != "text":
        possible = _wider(setting.value)
        decide = f"not known by its name; to search it: {name}: {inline(possible)}"
        return replace(_constant(setting, name, "", decide), possible=possible)
    if setting.kind == "text" and isinstance(setting.value, str) and words & {*_SHAPES, "optimizer", "optim", "loss",
                                                                              "activation", "scheduler"}:  # fmt: skip
        return _constant(
            setting, name, "", f"to search it: {name}: {{choices: [{setting.value}, ...]}}, with what the script takes"
        )
    return _constant(setting, name, "")


def any_searched(settings: Iterable[Setting]) -> bool:
    """Return True if a setting is one to search, by its name and its default."""
    return any(guess(setting).role == PARAMETER for setting in settings)


def _constant(setting: Setting, name: str, why: str, decide: str = "") -> Guess:
    if setting.value is None:
        return Guess(LEAVE, name, why="the script's own default, none")
    if isinstance(setting.value, (list, tuple, dict)):
        return Guess(LEAVE, name, why="several values, which stay the script's own")
    if setting.value is MISSING:
        if not setting.required:
            return Guess(LEAVE, name, why="optional, and without a default")
        value = {"int": 1, "float": 1.0, "bool": True}.get(setting.kind, name)
        return Guess(CONSTANT, name, value, why, f"{setting.shown} is required and has no default: give its value")
    if isinstance(setting.value, float) and not math.isfinite(setting.value):
        return Guess(LEAVE, name, why="not finite, which stays the script's own")
    return Guess(CONSTANT, name, setting.value, why, decide)


def _of_choices(setting: Setting, name: str, words: set[str]) -> Guess:
    shape = bool(words & _SHAPES)
    if words & _FIXED_WORDS and not shape:
        value = setting.choices[0] if setting.value is MISSING and setting.required else setting.value
        decide = "the first of the script's choices" if value is not setting.value else ""
        return _constant(_with_value(setting, value), name, "", decide)
    usable = [choice for choice in dict.fromkeys(setting.choices) if choice is not None and _plain(choice)]
    if len(usable) < 2 or len(usable) > 50:
        value = usable[0] if usable and setting.value is MISSING and setting.required else setting.value
        return _constant(_with_value(setting, value), name, "too few or too many choices to search")
    return Guess(
        PARAMETER, name, {"choices": usable, **({"structural": True} if shape else {})}, "the script's choices"
    )


def _of_bool(setting: Setting, name: str, words: set[str]) -> Guess:
    fixed = words & _FIXED_WORDS and not words & _SWITCHES
    if fixed or not isinstance(setting.value, bool):
        return _constant(setting, name, "")
    decide = "" if words & _SWITCHES else "is it worth a search?"
    return Guess(PARAMETER, name, {"choices": [False, True]}, "on or off", decide)


def _with_value(setting: Setting, value: Any) -> Setting:
    return replace(setting, value=value)


def _holds(declared: dict[str, Any], setting: Setting) -> bool:
    """Return True if a range fits a setting: not fractions where the script takes whole numbers."""
    if setting.kind == "int" and isinstance(declared.get("low"), float):
        return False
    if "low" in declared and declared.get("log") and declared["low"] <= 0:  # of a default of 1e-323
        return False
    if "low" in declared and declared["low"] >= declared["high"]:
        return False
    if not _number(setting.value) or "low" not in declared:
        return True
    # 0 is as good as the least value of a logarithmic range.
    return bool(declared["low"] <= setting.value <= declared["high"] or (setting.value == 0 and declared.get("log")))


def _typed(declared: dict[str, Any], setting: Setting) -> dict[str, Any]:
    """Return a range of real numbers where the script's value is one: two whole bounds mean whole numbers."""
    if setting.kind != "float" and not isinstance(setting.value, float):
        return declared
    if "low" in declared:
        return {**declared, "low": float(declared["low"]), "high": float(declared["high"])}
    return {**declared, "choices": [float(choice) for choice in declared["choices"]]}


def _wider(value: float) -> dict[str, Any]:
    """Return a range from half to twice a number."""
    if value == 0:
        return {"low": value, "high": value + 1}
    low, high = sorted((value / 2, value * 2))
    if isinstance(value, int):
        return {"low": int(low), "high": int(high)}
    return {"low": _rounded(low), "high": _rounded(high)}


def _plain(value: Any) -> bool:
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _number(value: Any) -> bool:
    """Return True for a finite number that Optuna can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**50


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def snake(name: str) -> str:
    """Return `BatchSize`, `batchSize`, `batch-size` and `BATCH_SIZE` as `batch_size`."""
    if not name.isupper():
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9.]+", "_", name.lower()).strip("_")
