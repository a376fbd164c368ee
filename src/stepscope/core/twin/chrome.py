"""The rows of a Chrome JSON file: one event a line, and behind it one for each flow that passes.

    {"ph":"X","name":"fwd","cat":"user_annotation","pid":1,"tid":2,"ts":0.001,"dur":1.250,"args":{"k":1}}
    {"ph":"X","name":"f","cat":"python_function",...,"args":{"stepscope:site":"net.py:12"}}
    {"ph":"s","id":1,"name":"batch","cat":"flow","pid":1,"tid":2,"ts":0.001}

Times are microseconds with three decimals, printed from integers: a float would lose nanoseconds.
"""

from collections.abc import Iterator, Mapping, Sequence

from stepscope.core.rows import CUT, INSTANT, Columns, Flows
from stepscope.core.twin.flows import FIRST, LAST, STEP, flow_points

__all__ = ["chrome_rows"]

CUT_MARK = b'"stepscope:cut":true'
SITE_MARK = b'"stepscope:site":'
ROWS_PER_CHUNK = 4096
# "bp": the arrow ends at the row itself, not at the one after it.
FLOW_HEADS = {FIRST: b'"ph":"s"', STEP: b'"ph":"t"', LAST: b'"ph":"f","bp":"e"'}


def chrome_rows(
    columns: Columns,
    texts: Sequence[bytes],
    tracks: Sequence[bytes],
    args: Mapping[int, bytes],
    flows: Flows | None = None,
) -> Iterator[bytes]:
    """Print rows, each behind a comma and a newline.

    Args:
        columns: settled; ts and dur in ns.
        texts: string id -> JSON string, with its quotes.
        tracks: track id -> `"pid":1,"tid":2`.
        args: row -> the inside of its args object, for the rows that have some.
        flows: names are ids into texts.

    Yields:
        Many rows at a time, UTF-8.
    """
    lines: list[bytes] = []
    points = flow_points(flows)
    for row, (ts, dur, name, cat, site, track, kind) in enumerate(zip(*columns, strict=True)):
        where = (texts[name], texts[cat], tracks[track], ts // 1000, ts % 1000)
        if kind & INSTANT:
            line = b',\n{"ph":"i","s":"t","name":%b,"cat":%b,%b,"ts":%d.%03d' % where
        else:
            line = b',\n{"ph":"X","name":%b,"cat":%b,%b,"ts":%d.%03d' % where
            line += b',"dur":%d.%03d' % (dur // 1000, dur % 1000)
        inside = args.get(row, b"")
        if site:
            mark = SITE_MARK + texts[site]
            inside = mark + b"," + inside if inside else mark
        if kind & CUT:
            inside = inside + b"," + CUT_MARK if inside else CUT_MARK
        lines.append(line + b',"args":{%b}}' % inside if inside else line + b"}")
        if flows is not None and row in points:
            for flow, stands in points[row]:
                head = FLOW_HEADS[stands], flow + 1, texts[flows.name[flow]]
                lines.append(b',\n{%b,"id":%d,"name":%b,"cat":"flow",%b,"ts":%d.%03d}' % (*head, *where[2:]))
        if len(lines) == ROWS_PER_CHUNK:
            yield b"".join(lines)
            lines.clear()
    yield b"".join(lines)
