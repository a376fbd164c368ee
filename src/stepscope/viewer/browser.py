"""The browser: whether there is one here to open, and what to tell people where there is none."""

import getpass
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Mapping

from stepscope.viewer.server import HOST

__all__ = ["by_hand", "open_browser", "why_none"]

# A browser that cannot be started says so sooner.
OPENING_S = 3.0


def open_browser(link: str) -> str:
    """Open the link in the user's browser.

    Returns:
        "" where it is on its way, else why it is not.
    """
    why = why_none(os.environ, sys.platform)
    if why:
        return why
    failed = threading.Event()
    opening = threading.Thread(target=_open, args=(link, failed), name="stepscope browser", daemon=True)
    opening.start()
    # One that runs in the foreground, such as a script in BROWSER, is waited for by webbrowser until it ends.
    opening.join(OPENING_S)
    return "no browser was found" if failed.is_set() else ""


def _open(link: str, failed: threading.Event) -> None:
    try:
        opened = webbrowser.open(link, new=2)
    except webbrowser.Error:
        opened = False
    if not opened:
        failed.set()


def why_none(environ: Mapping[str, str], platform: str) -> str:
    """Why a browser started here would be seen by nobody; "" if it would.

    What the variable BROWSER names is taken for a good one.
    """
    if environ.get("BROWSER"):
        return ""
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return "this is a remote shell (ssh)"
    has_screen = platform in ("win32", "darwin", "cygwin") or environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    return "" if has_screen else "there is no display"


def by_hand(link: str, port: int, environ: Mapping[str, str]) -> str:
    """What to do with a link that no browser was opened with."""
    return (
        f"Open this link in a browser on this machine:\n  {link}\n"
        "On another machine, run this there first, and leave it open:\n"
        f"  {_tunnel(port, environ)}"
    )


def _tunnel(port: int, environ: Mapping[str, str]) -> str:
    """The ssh command that makes a port of this machine one of the machine it is run on."""
    # "client's address, its port, server's address, its port"; the server's is how this machine was reached.
    connection = environ.get("SSH_CONNECTION", "").split()
    host, ssh_port = (connection[2], connection[3]) if len(connection) == 4 else (socket.gethostname(), "22")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an id without a name, as containers have it
        user = "USER"
    return f"ssh {f'-p {ssh_port} ' if ssh_port != '22' else ''}-L {port}:{HOST}:{port} {user}@{host}"
