/* Steps and what is cut at them: the rows of a thread's steps, and calls that go on over the edge of one.

   The twin of the same in twin/pair.py. Calls and steps nest: a step begins and ends inside a call, of prof.step(). */

#include "pair.h"

/* A step in ns, on the own track of the thread that is being read. */
typedef struct {
    int64_t start, end;
} step_ns_t;

int steps_read(pairing_t *p, step_t *steps, size_t count, unsigned long tid) {
    for (size_t i = 0; i < count; i++) {
        if (steps[i].used || steps[i].tid != tid) continue;
        lane_set(p, steps[i].lane);
        uint64_t start = clamped(p, steps[i].start), end = clamped(p, steps[i].end);
        int cut = start != steps[i].start || end != steps[i].end;
        Py_ssize_t row = row_add(p, (label_t){steps[i].name, ANNOTATION, 0}, start, cut ? ROW_SLICE | ROW_CUT : ROW_SLICE);
        row_end(p, row, end);
        steps[i].used = 1;
        if (args_add(p, row, steps[i].args) < 0) return -1;
        if (steps[i].lane) continue;
        if (list_grow(&p->steps, 1, sizeof(step_ns_t)) < 0) return -1;
        ((step_ns_t *)p->steps.items)[p->steps.count++] = (step_ns_t){ts_of(p, start), ts_of(p, end)};
    }
    return 0;
}

/* How many steps of the thread end no later than ts, or with starts, begin before it: they are in order of time. */
static size_t steps_before(const pairing_t *p, int64_t ts, int starts) {
    const step_ns_t *steps = p->steps.items;
    size_t low = 0, high = p->steps.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (starts ? steps[middle].start < ts : steps[middle].end <= ts)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Cut a row at ts; the row of what is behind. */
static Py_ssize_t row_split(pairing_t *p, Py_ssize_t row, int64_t ts) {
    columns_t *columns = &p->columns;
    Py_ssize_t rest = p->row++;
    columns->ts[rest] = ts;
    columns->dur[rest] = columns->ts[row] + columns->dur[row] - ts;
    columns->dur[row] = ts - columns->ts[row];
    columns->name[rest] = columns->name[row];
    columns->cat[rest] = columns->cat[row];
    columns->site[rest] = columns->site[row];
    columns->track[rest] = columns->track[row];
    columns->kind[row] |= ROW_CUT;
    columns->kind[rest] = columns->kind[row];
    return rest;
}

void calls_split(pairing_t *p, Py_ssize_t first) {
    const step_ns_t *steps = p->steps.items;
    if (p->call_category == 0 || p->steps.count == 0) return;
    for (Py_ssize_t i = first, end = p->row; i < end; i++) {
        Py_ssize_t row = i;
        if (!is_call(p, row) || p->columns.rows - p->row < 2) continue;
        int64_t ts = p->columns.ts[row], ends = ts + p->columns.dur[row];
        size_t step = steps_before(p, ts, 0);
        if (step < p->steps.count && steps[step].start < ts && steps[step].end < ends) {
            ts = steps[step].end;
            row = row_split(p, row, ts);
        }
        step = steps_before(p, ends, 1);
        if (step > 0 && steps[step - 1].start > ts && steps[step - 1].end > ends)
            row_split(p, row, steps[step - 1].start);
    }
}
