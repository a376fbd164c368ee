"""The rows of a Chrome JSON file: one event a line.

    {"ph":"X","name":"fwd","cat":"user_annotation","pid":1,"tid":2,"ts":0.001,"dur":1.250,"args":{"k":1}}

Times are microseconds with three decimals, printed from integers: a float would lose nanoseconds.
"""

from collections.abc import Iterator, Mapping, Sequence

from stepscope.core.rows import CUT, INSTANT, Columns

__all__ = ["chrome_rows"]

CUT_MARK = b'"stepscope:cut":true'
ROWS_PER_CHUNK = 4096


def chrome_rows(
    columns: Columns,
    texts: Sequence[bytes],
    tracks: Sequence[bytes],
    args: Mapping[int, bytes],
) -> Iterator[bytes]:
    """Print rows, each behind a comma and a newline.

    Args:
        columns: settled; ts and dur in ns.
        texts: string id -> JSON string, with its quotes.
        tracks: track id -> `"pid":1,"tid":2`.
        args: row -> the inside of its args object, for the rows that have some.

    Yields:
        Many rows at a time, UTF-8.
    """
    lines: list[bytes] = []
    rows = zip(columns.ts, columns.dur, columns.name, columns.cat, columns.track, columns.kind, strict=True)
    for row, (ts, dur, name, cat, track, kind) in enumerate(rows):
        where = (texts[name], texts[cat], tracks[track], ts // 1000, ts % 1000)
        if kind & INSTANT:
            line = b',\n{"ph":"i","s":"t","name":%b,"cat":%b,%b,"ts":%d.%03d' % where
        else:
            line = b',\n{"ph":"X","name":%b,"cat":%b,%b,"ts":%d.%03d' % where
            line += b',"dur":%d.%03d' % (dur // 1000, dur % 1000)
        inside = args.get(row, b"")
        if kind & CUT:
            inside = inside + b"," + CUT_MARK if inside else CUT_MARK
        lines.append(line + b',"args":{%b}}' % inside if inside else line + b"}")
        if len(lines) == ROWS_PER_CHUNK:
            yield b"".join(lines)
            lines.clear()
    yield b"".join(lines)
