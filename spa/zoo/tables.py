"""TOML and YAML as plain tables."""

from __future__ import annotations

import sys
from typing import Any

from spa.errors import ReadError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = dict[str, Any]


def read_toml(text: str, name: str) -> Table:
    """The table that TOML text holds.

    Raises:
        ReadError: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ReadError(f"{name} is no TOML ({error}); correct that place") from error


def read_yaml(text: str, name: str) -> Table:
    """The table that YAML text holds.

    Raises:
        ReadError: it is no YAML, no table, or PyYAML is missing.
    """
    try:
        import yaml
    except ImportError as error:
        raise ReadError(
            f'{name} needs PyYAML; install it with pip install "onnx-spa[yaml]", or write TOML'
        ) from error
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise ReadError(f"{name} is no YAML ({why}); correct that place") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ReadError(f"{name} holds no table; write one entry per glob")
    return data
