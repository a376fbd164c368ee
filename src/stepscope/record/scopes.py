"""Instants that are not of a thread, on tracks of their own: of the process, and global."""

from array import array

from stepscope.core.rows import INSTANT, Paired, PairedTrack
from stepscope.core.scopes import SITES

__all__ = ["place_scoped"]


def place_scoped(paired: Paired) -> Paired:
    """Put them there; the same Paired where there are none."""
    scopes = {paired.strings.index(site): scope for scope, site in SITES.items() if site in paired.strings}
    if not scopes:
        return paired
    columns, tracks = paired.columns, list(paired.tracks)
    track, site = array("I", columns.track), array("I", columns.site)
    places: dict[str, int] = {}
    for row, (mark, kind) in enumerate(zip(columns.site, columns.kind, strict=True)):
        if kind == INSTANT and mark in scopes:
            scope = scopes[mark]
            if scope not in places:
                places[scope] = len(tracks)
                tracks.append(PairedTrack(scope, 0, f"{scope} instants"))
            track[row], site[row] = places[scope], 0
    return paired._replace(columns=columns._replace(track=track, site=site), tracks=tracks)
