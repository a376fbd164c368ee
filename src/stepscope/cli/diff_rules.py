"""The rules of a diff, as the command line has them: options, and [tool.stepscope.diff] of the nearest pyproject.toml.

    [tool.stepscope.diff]
    fail_on = ["added", "removed", "slower"]    # or, as the option has it, "added,removed,slower"
    ratio = 1.5
    ignore = ["warmup*"]
    names = [["shard-[0-9]+", "shard-*"], {pattern = "job [0-9]+", replacement = "job *", of = "process"}]

Keys are the fields of stepscope.analysis.diff.Rules, and fail_on. An option takes the place of its key; those for
ignore_args and names add to it.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from stepscope import DiffError
from stepscope.analysis.diff import ASIDE, KINDS, NameRule, Rules
from stepscope.cli.trouble import Trouble

__all__ = ["NONE", "TABLE", "Settings", "rule_options", "settings_of"]

TABLE = "tool.stepscope.diff"
PROJECT = "pyproject.toml"
FAIL_ON = "fail_on"
# In --fail-on: no kind of finding.
NONE = "none"
# What re raises besides its own error: for repetitions without end, for replacements that name no group.
REGEX_ERRORS = (OverflowError, RecursionError, IndexError)
KEYS = (*Rules.__dataclass_fields__, FAIL_ON)
PATTERNS = "as the shell has them (*, ?, [a-z])"
# Names of options whose own word for a rule is another than the rule's.
OPTIONS = {"ignore_args": "--ignore-arg", "names": "--name-rule", "without_names": "--without-name-rule"}


class Settings(NamedTuple):
    """What was asked for.

    Attributes:
        rules: what counts as a difference.
        fail_on: the kinds of findings that fail.
    """

    rules: Rules
    fail_on: tuple[str, ...]


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that are rules; each is None, or empty, where it is not given."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--fail-on",
        FAIL_ON,
        metavar="KIND,...",
        help=f"Exit with 1 for these kinds of findings only, or with {NONE}: {', '.join(KINDS)}.",
    ),
    click.option("--ignore", multiple=True, metavar="PATTERN", help=f"No findings at or below such names, {PATTERNS}."),
    click.option("--only", multiple=True, metavar="PATTERN", help="Findings at or below such names only."),
    click.option(
        "--order",
        type=click.Choice(["keep", "ignore"]),
        help="ignore: siblings may come in any order, as in pools they always may.",
    ),
    click.option(
        "--free-threads",
        type=click.Choice(["loosely", "exactly"]),
        help="How threads that run free of the steps are compared; loosely: by kinds of calls, not by how many.",
    ),
    click.option("--timings/--no-timings", default=None, help="Whether times are compared; they are."),
    click.option("--ratio", type=float, metavar="X", help="Slower is at least X times as long; 1.25."),
    click.option("--step-us", type=float, metavar="US", help="And at least so much longer in a step; 50."),
    click.option("--alpha", type=float, metavar="P", help="And by chance at most so often; 0.01."),
    click.option("--outlier-ratio", type=float, metavar="X", help="An outlier takes X times the usual; 10."),
    click.option("--outlier-us", type=float, metavar="US", help="And so much longer; 1000."),
    click.option(
        "--counter-tolerance", type=float, metavar="SHARE", help="How far values of counters may differ; 0.1 is 10 %."
    ),
    click.option("--args/--no-args", default=None, help="Whether arguments are compared; they are."),
    click.option("--categories/--no-categories", default=None, help="Whether categories are compared; they are."),
    click.option(
        "--ignore-arg",
        "ignore_args",
        multiple=True,
        metavar="PATTERN",
        help="Arguments that are not compared, besides those that tools number anew in each run.",
    ),
    click.option(
        "--compare",
        multiple=True,
        metavar="NAME",
        help=f"Compare what is set aside otherwise: {', '.join(one.name for one in ASIDE)}.",
    ),
    click.option(
        "--name-rule",
        "names",
        type=(str, str),
        multiple=True,
        metavar="PATTERN TEXT",
        help="Replace what a regular expression finds in names before they are compared. See --list-rules.",
    ),
    click.option(
        "--without-name-rule",
        "without_names",
        multiple=True,
        metavar="NAME",
        help="A rule of --list-rules to leave out.",
    ),
)


def settings_of(options: Mapping[str, Any], config: Path | None) -> Settings:
    """The rules of the file, and of the options over them.

    Args:
        options: what rule_options adds, by name.
        config: the file; None for the nearest pyproject.toml, from the working folder upwards.

    Raises:
        Trouble: a key is not known, or a value cannot be used; the message names file or option, and what can be.
        OSError: the file cannot be read.
    """
    path = config or _nearest(Path.cwd())
    made = _from_file(path) if path else {}
    for name, value in options.items():
        if value is None or value == ():
            continue
        option = OPTIONS.get(name, f"--{name.replace('_', '-')}")
        given = value.split(",") if name == FAIL_ON else value
        checked = _checked(name, given, option)
        if name == "ignore_args":
            checked = (*made.get(name, Rules.ignore_args), *checked)
        elif name == "names":
            checked = (*checked, *made.get(name, ()))
        made[name] = checked
    fail_on = made.pop(FAIL_ON, tuple(KINDS))
    return Settings(Rules.of(made), fail_on)


def _nearest(folder: Path) -> Path | None:
    return next((path for above in (folder, *folder.parents) if (path := above / PROJECT).is_file()), None)


def _from_file(path: Path) -> dict[str, Any]:
    """The table of a file, with each value as the rules have it; nothing where there is no such table.

    Raises:
        Trouble: the file is no TOML, or something in the table cannot be used.
        OSError: it cannot be read.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        table: Any = tomllib.loads(path.read_bytes().decode())
    except (ValueError, RecursionError) as error:
        raise Trouble(f"{path}: this is no TOML: {error}") from error
    where = ""
    for part in TABLE.split("."):
        table = table.get(part, {})
        where = f"{where}.{part}".lstrip(".")
        if not isinstance(table, dict):
            raise Trouble(f"{path}: {where} must be a table, got {table!r}. Write [{TABLE}] above its keys.")
    for key in table:
        if key not in KEYS:
            raise Trouble(f"{path}: [{TABLE}] has no key {key!r}. Keys are {', '.join(KEYS)}.")
    return {key: _checked(key, value, f"{path}: [{TABLE}] {key}") for key, value in table.items()}


def _checked(name: str, value: Any, where: str) -> Any:
    """A value as the rules have it.

    Raises:
        Trouble: it cannot be used; the message begins with where it is.
    """
    try:
        if name == FAIL_ON:
            return _kinds(value)
        if name == "names" and isinstance(value, list):
            value = [_name_rule(rule) if isinstance(rule, dict) else rule for rule in value]
        return getattr(Rules.of({name: value}), name)
    except (DiffError, *REGEX_ERRORS) as error:
        raise Trouble(f"{where}: {error}") from error


def _kinds(value: Any) -> tuple[str, ...]:
    texts: Iterable[Any] = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        message = f"must be a list of kinds of findings, got {value!r}."
        raise DiffError(message)
    kinds = [text.strip() if isinstance(text, str) else text for text in texts]
    if kinds == [NONE]:
        return ()
    for kind in kinds:
        if not isinstance(kind, str) or kind not in KINDS:
            message = f"there is no kind of finding {kind!r}. Kinds are {', '.join(KINDS)}; or {NONE} for none of them."
            raise DiffError(message)
    return tuple(dict.fromkeys(kinds))


def _name_rule(given: Mapping[str, Any]) -> NameRule:
    """A rule of a table."""
    known = tuple(NameRule.__dataclass_fields__)
    for key, value in given.items():
        if key not in known or not isinstance(value, str):
            message = f"a rule has {key} = {value!r}. It can have {', '.join(known)}, which are text."
            raise DiffError(message)
    if not {"pattern", "replacement"} <= {*given}:
        message = f"a rule is {dict(given)!r}. It needs pattern and replacement."
        raise DiffError(message)
    return NameRule(**{"name": given["pattern"], **given})
