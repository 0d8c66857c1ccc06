"""Reading YAML files with numbers as people write them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from difflut.errors import ConfigError
from difflut.utils.plain_values import check_plain


class _Loader(yaml.SafeLoader):
    """YAML 1.1, and numbers like 1e-3, which that version takes for text; dates, in turn, stay text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as in the base class
        first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: str | Path) -> Any:
    """Return what a YAML file holds, plain values only.

    Raises
    ------
    OSError : the file cannot be read.
    ConfigError : the file is not YAML, or holds anything else.
    """
    try:
        found = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError is about a text or a number
        raise ConfigError(f"{path}: the file is not valid YAML ({' '.join(str(error).split())}).") from error
    check_plain(str(path), found)
    return found
