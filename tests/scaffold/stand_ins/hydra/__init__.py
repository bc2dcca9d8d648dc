"""The part of Hydra that the script of hydra_style uses: a configuration with groups, and overrides."""

import functools
import logging
import sys
from pathlib import Path

import yaml
from omegaconf import DictConfig


def _load(path):
    text = path.read_text()
    loaded = yaml.safe_load(text) or {}
    # Hydra reads 1e-3 as a number, as YAML 1.2 does.
    return {key: float(v) if isinstance(v, str) and v.replace("e-", "").isdigit() else v for key, v in loaded.items()}


def _set(config, key, value):
    *above, last = key.split(".")
    for part in above:
        config = config.setdefault(part, {})
    assert last in config or above[:1] == ["run"], f"Key '{key}' is not in struct"
    config[last] = value


def main(version_base=None, config_path=".", config_name="config"):
    def decorate(function):
        @functools.wraps(function)
        def run():
            folder = Path(sys.argv[0]).parent / config_path
            own = _load(folder / f"{config_name}.yaml")
            overrides = dict(argument.split("=", 1) for argument in sys.argv[1:])
            config = {}
            for entry in own.pop("defaults"):
                for group, option in entry.items() if isinstance(entry, dict) else ():
                    config[group] = _load(folder / group / f"{overrides.pop(group, option)}.yaml")
            config |= {key: value for key, value in own.items() if key != "hydra"}
            output = Path(overrides.pop("hydra.run.dir", "outputs").strip("'"))
            for key, value in overrides.items():
                _set(config, key, yaml.safe_load(value))
            output.mkdir(parents=True, exist_ok=True)
            logging.basicConfig(filename=output / "run.log", level="INFO")
            return function(DictConfig(config))

        return run

    return decorate
