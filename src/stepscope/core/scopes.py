"""Scopes of instants: what happened to a thread, to the whole process, or to everything there is.

An instant of a thread stands where the thread is. The others are recorded there, too, marked by where they would have
a site, and put on tracks of their own when records are paired.
"""

from typing import Any

from stepscope.core.rows import ANNOTATION, Label
from stepscope.core.values import freeze_call, legal_name

__all__ = ["SITES", "scoped_instant"]

# What marks an instant that is not its thread's, by the scope; no function is there.
SITES = {"process": "(of the process)", "global": "(global)"}


def scoped_instant(name: str, args: Any = None, *, scope: str, **kwargs: Any) -> None:
    """`instant` with a scope.

    Args:
        name: any str.
        args: the arguments, as for `record_function`.
        scope: "thread", "process" or "global", as in Chrome's format.
        **kwargs: more arguments.

    Raises:
        ValueError: there is no such scope.
    """
    from stepscope.core import kernels

    if scope == "thread":
        kernels.instant(name, args, **kwargs)
        return
    if not isinstance(scope, str) or scope not in SITES:
        known = ", ".join(repr(each) for each in ("thread", *SITES))
        message = (
            f"instant({name!r}): scope must be one of {known}, got {scope!r}. "
            "An argument of that name goes into the mapping: instant(name, {'scope': ...})."
        )
        raise ValueError(message)
    kernels.instant_of(Label(legal_name(name), ANNOTATION, SITES[scope]), freeze_call(args, kwargs) or None)
