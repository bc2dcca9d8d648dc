"""Records of Optuna's journal: one line each, and what makes a line a record that Optuna can replay.

Optuna numbers studies and trials by the order of the records that create them. So a record that is missing or damaged
renumbers what comes after it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

Record = dict[str, Any]

(
    CREATE_STUDY, DELETE_STUDY, STUDY_USER_ATTR, STUDY_SYSTEM_ATTR, CREATE_TRIAL,
    PARAM, STATE, INTERMEDIATE, TRIAL_USER_ATTR, TRIAL_SYSTEM_ATTR, DISCARD,
) = range(11)  # fmt: skip

KINDS: Final = {
    CREATE_STUDY: "the creation of a study",
    DELETE_STUDY: "the deletion of a study",
    STUDY_USER_ATTR: "a user attribute of a study",
    STUDY_SYSTEM_ATTR: "a system attribute of a study",
    CREATE_TRIAL: "the creation of a trial",
    PARAM: "a parameter of a trial",
    STATE: "the state and values of a trial",
    INTERMEDIATE: "a step of a trial",
    TRIAL_USER_ATTR: "a user attribute of a trial",
    TRIAL_SYSTEM_ATTR: "a system attribute of a trial",
    DISCARD: "a note that Optuna skips",
}
# The longest line that is read as a record. A longer one is what a file system lost.
LONGEST = 1 << 26


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, float) or _integer(value)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _object(value: object) -> bool:
    return isinstance(value, dict)


def _numbers(value: object) -> bool:
    return isinstance(value, list) and all(map(_number, value))


def _directions(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(one in (0, 1, 2) and _integer(one) for one in value)


def _state(value: object) -> bool:
    return _integer(value) and value in range(5)


def _attribute(value: object) -> bool:
    return isinstance(value, dict) and len(value) == 1


def _mapping(inner: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(inner, value.values()))


def _or_none(inner: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or inner(value)


_Keys = Mapping[str, Callable[[object], bool]]
_EVERY: _Keys = {"op_code": _integer, "worker_id": _text}
_REQUIRED: Mapping[int, _Keys] = {
    CREATE_STUDY: {"study_name": _text, "directions": _directions},
    DELETE_STUDY: {"study_id": _integer},
    STUDY_USER_ATTR: {"study_id": _integer, "user_attr": _attribute},
    STUDY_SYSTEM_ATTR: {"study_id": _integer, "system_attr": _attribute},
    CREATE_TRIAL: {"study_id": _integer, "datetime_start": _or_none(_text)},
    PARAM: {"trial_id": _integer, "param_name": _text, "param_value_internal": _number, "distribution": _text},
    STATE: {"trial_id": _integer, "state": _state, "values": _or_none(_numbers)},
    INTERMEDIATE: {"trial_id": _integer, "step": _integer, "intermediate_value": _number},
    TRIAL_USER_ATTR: {"trial_id": _integer, "user_attr": _attribute},
    TRIAL_SYSTEM_ATTR: {"trial_id": _integer, "system_attr": _attribute},
    DISCARD: {},
}
_OPTIONAL: Mapping[int, _Keys] = {
    CREATE_TRIAL: {
        "state": _state,
        "value": _or_none(_number),
        "values": _or_none(_numbers),
        "datetime_complete": _text,
        "distributions": _mapping(_text),
        "params": _mapping(_number),
        "user_attrs": _object,
        "system_attrs": _object,
        "intermediate_values": _mapping(_number),
    },
    STATE: {"datetime_start": _text, "datetime_complete": _text},
}
KEYS: Mapping[int, frozenset[str]] = {
    kind: frozenset(required) | frozenset(_OPTIONAL.get(kind, ())) for kind, required in _REQUIRED.items()
}
_ALL_KEYS = frozenset[str]().union(*KEYS.values())


def parse(line: bytes) -> Record:
    """Return the record that a line is.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    _check(record)
    return dict(record)


def _check(record: object) -> None:
    """Look whether Optuna can replay a record.

    Raises:
        ValueError: it cannot, or it is a record of one kind with the keys of another; the message says why.
    """
    if not isinstance(record, dict):
        raise ValueError("it is JSON, and no record")
    kind = record.get("op_code")
    if not _integer(kind) or kind not in KINDS:
        raise ValueError("it is of a kind (op_code) that Optuna does not know")
    if kind == DISCARD:
        return
    for key, is_right in (*_EVERY.items(), *_REQUIRED[kind].items()):
        if key not in record:
            raise ValueError(f"it lacks the key '{key}'")
        if not is_right(record[key]):
            raise ValueError(f"its key '{key}' has a value of the wrong kind")
    for key, is_right in _OPTIONAL.get(kind, {}).items():
        if key in record and not is_right(record[key]):
            raise ValueError(f"its key '{key}' has a value of the wrong kind")
    template = _OPTIONAL[CREATE_TRIAL].keys() - {"datetime_complete"}
    if kind == CREATE_TRIAL and (lacking := template - record.keys()) and lacking != template:
        raise ValueError(f"it lacks the key '{min(lacking)}'")
    if kind == DELETE_STUDY and len(record) > len(_EVERY) + len(_REQUIRED[kind]):
        raise ValueError("it deletes a study, and has keys that such a record has not")
    foreign = (_ALL_KEYS - KEYS[kind]).intersection(record)
    if foreign:
        raise ValueError(f"its key '{min(foreign)}' belongs to records of another kind")
