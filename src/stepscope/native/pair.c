/* Pairing: from each thread's begins and ends to slices and instants, cut at the window.

   The twin of twin/pair.py, with paired.c. Ends are matched to the innermost open begin of the same span. Rows are
   written in opening order, thread after thread: steps, what began before the first record, records. No Python object is touched here, so that the GIL is not needed. */

#include "pair.h"

#include <stdlib.h>
#include <string.h>

/* A begin that waits for its end. */
typedef struct {
    uint64_t key;
    Py_ssize_t row;
    cpu_t cpu;
} waiting_t;

/* Room for that many more items. */
static int list_grow(list_t *list, size_t more, size_t size) {
    if (list->count + more <= list->room) return 0;
    size_t room = list->room ? 2 * list->room : 64;
    if (room < list->count + more) room = list->count + more;
    void *items = realloc(list->items, room * size);
    if (items == NULL) return -1;
    list->items = items;
    list->room = room;
    return 0;
}

/* ---- rows ------------------------------------------------------------------------------------------------- */

static uint64_t clamped(const pairing_t *p, uint64_t ticks) {
    /* A thread may have read the clock just outside the window that its record fell into. */
    if (ticks < p->window->opened.ticks) return p->window->opened.ticks;
    return ticks > p->window->sealed.ticks ? p->window->sealed.ticks : ticks;
}

static int64_t ts_of(const pairing_t *p, uint64_t ticks) { return ticks_to_ns(&p->scale, ticks) + p->shift_ns; }

static inline Py_ssize_t row_add(pairing_t *p, label_t label, uint64_t ticks, uint8_t kind) {
    Py_ssize_t row = p->row++;
    p->columns.ts[row] = ts_of(p, ticks);
    p->columns.name[row] = label.name;
    p->columns.cat[row] = label.cat;
    if (unlikely(label.site)) p->columns.site[row] = label.site; /* it is 0: no need to touch its page */
    p->columns.track[row] = p->track;
    p->columns.kind[row] = kind;
    return row;
}

static inline void row_end(pairing_t *p, Py_ssize_t row, uint64_t ticks) {
    p->columns.dur[row] = ts_of(p, ticks) - p->columns.ts[row];
}

static int args_add(pairing_t *p, Py_ssize_t row, PyObject *args) {
    if (args == NULL) return 0;
    if (list_grow(&p->args, 1, sizeof(row_args_t)) < 0) return -1;
    ((row_args_t *)p->args.items)[p->args.count++] = (row_args_t){row, args, 0};
    return 0;
}

/* The calls around the row's event, if they are known. */
static int stack_add(pairing_t *p, Py_ssize_t row) {
    if (likely(p->stack == 0)) return 0;
    if (list_grow(&p->args, 1, sizeof(row_args_t)) < 0) return -1;
    ((row_args_t *)p->args.items)[p->args.count++] = (row_args_t){row, NULL, p->stack};
    return 0;
}

/* ---- records ---------------------------------------------------------------------------------------------- */

static inline int waiting_push(pairing_t *p, uint64_t key, Py_ssize_t row) {
    if (unlikely(list_grow(&p->waiting, 1, sizeof(waiting_t)) < 0)) return -1;
    ((waiting_t *)p->waiting.items)[p->waiting.count++] = (waiting_t){key, row, p->cpu};
    return 0;
}

static int is_call(const pairing_t *p, Py_ssize_t row) {
    return p->call_category && p->columns.cat[row] == p->call_category;
}

/* Take out what waits at a place, where it is not the last; a call takes the calls inside it along, whose ends were not
   seen: they are cut where it ends. */
static __attribute__((noinline)) void waiting_remove(pairing_t *p, size_t place, uint64_t ticks) {
    waiting_t *waiting = p->waiting.items;
    int ends_calls = is_call(p, waiting[place].row);
    size_t kept = place;
    for (size_t i = place + 1; i < p->waiting.count; i++) {
        if (ends_calls && is_call(p, waiting[i].row)) {
            row_end(p, waiting[i].row, ticks);
            p->columns.kind[waiting[i].row] |= ROW_CUT;
        } else {
            waiting[kept++] = waiting[i];
        }
    }
    p->waiting.count = kept;
}

/* Note what the thread of a waiting span has computed, if that is known and it is one thread. */
static int cpu_add(pairing_t *p, const waiting_t *waiting) {
    if (!waiting->cpu.known || waiting->cpu.thread != p->cpu.thread) return 0;
    if (list_grow(&p->cpus, 1, sizeof(row_cpu_t)) < 0) return -1;
    ((row_cpu_t *)p->cpus.items)[p->cpus.count++] = (row_cpu_t){waiting->row, p->cpu.ns - waiting->cpu.ns};
    return 0;
}

/* End the innermost waiting span of that key; `ended` gets its row, or -1 if there is none. */
static inline int waiting_end(pairing_t *p, uint64_t key, uint64_t ticks, Py_ssize_t *ended) {
    waiting_t *waiting = p->waiting.items;
    for (size_t place = p->waiting.count; place-- > 0;) {
        if (waiting[place].key != key) continue;
        *ended = waiting[place].row;
        row_end(p, *ended, ticks);
        int result = unlikely(p->cpu.known) ? cpu_add(p, &waiting[place]) : 0;
        if (likely(place + 1 == p->waiting.count))
            p->waiting.count--;
        else
            waiting_remove(p, place, ticks);
        return result;
    }
    *ended = -1;
    p->orphans++;
    return 0;
}

static int begin_read(pairing_t *p, const sealed_thread_t *thread, const record_t *record, uint8_t kind) {
    Py_ssize_t row = row_add(p, p->labels[record->id], clamped(p, record->ticks), kind);
    if (record->kind == REC_BEGIN) return waiting_push(p, record->id, row);
    if (args_add(p, row, payload_at(&thread->part.payloads, record[1].id)) < 0 || stack_add(p, row) < 0) return -1;
    return waiting_push(p, SERIAL_KEY | (uint32_t)record[1].ticks, row);
}

/* An end that brings arguments. */
static int end_read(pairing_t *p, const sealed_thread_t *thread, const record_t *record) {
    Py_ssize_t row;
    if (waiting_end(p, SERIAL_KEY | record->id, clamped(p, record->ticks), &row) < 0) return -1;
    return row < 0 ? 0 : args_add(p, row, payload_at(&thread->part.payloads, record[1].id));
}

static int count_read(pairing_t *p, const record_t *record) {
    count_t count = {ts_of(p, clamped(p, record->ticks)), 0, p->series[record->id]};
    memcpy(&count.value, &record[1].ticks, sizeof count.value);
    if (list_grow(&p->counts, 1, sizeof count) < 0) return -1;
    ((count_t *)p->counts.items)[p->counts.count++] = count;
    return 0;
}

/* A point of a flow is an instant, whose name is known when all threads are read. */
static int flow_read(pairing_t *p, const record_t *record) {
    if (list_grow(&p->flows, 1, sizeof(paired_point_t)) < 0) return -1;
    label_t label = record[1].id ? p->labels[record->id] : (label_t){0, ANNOTATION, 0};
    Py_ssize_t row = row_add(p, label, clamped(p, record->ticks), ROW_INSTANT);
    ((paired_point_t *)p->flows.items)[p->flows.count++] = (paired_point_t){record[1].ticks, row, label.name};
    return 0;
}

/* One record; its payload stands behind it. */
static inline int record_read(pairing_t *p, const sealed_thread_t *thread, const record_t *record) {
    uint64_t ticks = clamped(p, record->ticks);
    Py_ssize_t row;
    switch (record->kind) {
    case REC_BEGIN:
        row = row_add(p, p->labels[record->id], ticks, ROW_SLICE);
        return stack_add(p, row) < 0 ? -1 : waiting_push(p, record->id, row);
    case REC_END:
        return waiting_end(p, record->id, ticks, &row);
    case REC_INSTANT:
        return stack_add(p, row_add(p, p->labels[record->id], ticks, ROW_INSTANT));
    case REC_END_SERIAL:
        return waiting_end(p, SERIAL_KEY | record->id, ticks, &row);
    case REC_CPU:
        p->cpu = (cpu_t){record->ticks, record->id, 1};
        return 0;
    case REC_STACK:
        p->stack = p->labels[record->id].name;
        return 0;
    case REC_END_ARGS:
        return end_read(p, thread, record);
    case REC_BEGIN_ARGS:
        return begin_read(p, thread, record, ROW_SLICE);
    case REC_INSTANT_ARGS:
        row = row_add(p, p->labels[record->id], ticks, ROW_INSTANT);
        if (args_add(p, row, payload_at(&thread->part.payloads, record[1].id)) < 0) return -1;
        return stack_add(p, row);
    case REC_COUNTER:
        return count_read(p, record);
    default: /* REC_FLOW */
        return flow_read(p, record);
    }
}

static int thread_read(pairing_t *p, const sealed_thread_t *thread) {
    const part_t *part = &thread->part;
    for (uint32_t i = 0; i < part->begun.count; i++) {
        const begun_t *begun = &part->begun.of[i];
        if (begin_read(p, thread, begun->record, begun->cut ? ROW_SLICE | ROW_CUT : ROW_SLICE) < 0) return -1;
    }
    for (const chunk_t *chunk = part->first; chunk != NULL; chunk = chunk->next) {
        const record_t *record = chunk->records, *end = record + chunk->used;
        while (record < end) {
            if (unlikely(record_read(p, thread, record) < 0)) return -1;
            if (unlikely(p->cpu.known | p->stack) && record->kind != REC_CPU && record->kind != REC_STACK)
                p->cpu.known = p->stack = 0; /* they are good for one record */
            record += record_length(record);
        }
    }
    waiting_t *waiting = p->waiting.items;
    for (size_t i = 0; i < p->waiting.count; i++) {
        row_end(p, waiting[i].row, p->window->sealed.ticks);
        p->columns.kind[waiting[i].row] |= ROW_CUT;
    }
    return 0;
}

/* ---- steps, flows ----------------------------------------------------------------------------------------- */

/* A step in ns, on the thread that is being read. */
typedef struct {
    int64_t start, end;
} step_ns_t;

static int steps_read(pairing_t *p, step_t *steps, size_t count, unsigned long tid) {
    for (size_t i = 0; i < count; i++) {
        if (steps[i].used || steps[i].tid != tid) continue;
        uint64_t start = clamped(p, steps[i].start), end = clamped(p, steps[i].end);
        int cut = start != steps[i].start || end != steps[i].end;
        Py_ssize_t row = row_add(p, (label_t){steps[i].name, ANNOTATION, 0}, start, cut ? ROW_SLICE | ROW_CUT : ROW_SLICE);
        row_end(p, row, end);
        steps[i].used = 1;
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

/* Cut the thread's calls where a step ends that they began in, and where one begins that they end in: so calls and steps
   nest. */
static void calls_split(pairing_t *p, Py_ssize_t first) {
    const step_ns_t *steps = p->steps.items;
    if (p->call_category == 0 || p->steps.count == 0) return;
    for (Py_ssize_t i = first, end = p->row; i < end; i++) {
        Py_ssize_t row = i;
        if (!is_call(p, row) || p->columns.rows - p->row < 2) continue; /* an odd end may have cost it its room */
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

static int by_flow(const void *a, const void *b) {
    const paired_point_t *one = a, *other = b;
    if (one->flow != other->flow) return one->flow < other->flow ? -1 : 1;
    return one->row < other->row ? -1 : 1;
}

/* Sort the flows' points by flow, and give each the name of its flow. */
static void flows_name(pairing_t *p) {
    paired_point_t *points = p->flows.items;
    size_t count = p->flows.count;
    if (count) qsort(points, count, sizeof *points, by_flow);
    for (size_t first = 0, end; first < count; first = end) {
        uint32_t name = 0;
        for (end = first; end < count && points[end].flow == points[first].flow; end++)
            if (points[end].name) name = points[end].name;
        for (size_t i = first; i < end; i++) {
            points[i].name = name ? name : p->flow_name;
            p->columns.name[points[i].row] = points[i].name;
        }
    }
}

/* ---- a window --------------------------------------------------------------------------------------------- */

static int makes_row(const record_t *record) {
    static const char makes[] = {[REC_BEGIN] = 1, [REC_INSTANT] = 1, [REC_BEGIN_ARGS] = 1, [REC_INSTANT_ARGS] = 1,
                                 [REC_FLOW] = 1, [REC_PAYLOAD] = 0};
    return makes[record->kind];
}

/* When a step begins, or ends: edges count through both. */
static uint64_t step_edge(const step_t *step, size_t edge) { return edge % 2 ? step->end : step->start; }

/* How many rows a thread's records make; at each edge of a step calls that are open may become two. */
static size_t thread_measure(const sealed_thread_t *thread, const step_t *steps, size_t step_count) {
    const part_t *part = &thread->part;
    size_t rows = part->begun.count;
    int split = 0;
    for (size_t i = 0; i < step_count; i++) split |= steps[i].tid == thread->tid;
    for (const chunk_t *chunk = part->first; chunk != NULL; chunk = chunk->next)
        for (const record_t *record = chunk->records, *end = record + chunk->used; record < end; record++)
            rows += makes_row(record);
    if (!split) return rows;
    size_t depth = part->begun.count, edge = 0;
    rows += 2; /* calls_split wants room for the two that one call may become more */
    for (const chunk_t *chunk = part->first; chunk != NULL; chunk = chunk->next)
        for (const record_t *record = chunk->records, *end = record + chunk->used; record < end;
             record += record_length(record)) {
            for (; edge < 2 * step_count && step_edge(&steps[edge / 2], edge) <= record->ticks; edge++)
                if (steps[edge / 2].tid == thread->tid) rows += depth;
            depth += record->kind == REC_BEGIN;
            depth -= record->kind == REC_END && depth > 0;
        }
    for (; edge < 2 * step_count; edge++)
        if (steps[edge / 2].tid == thread->tid) rows += depth;
    return rows;
}

size_t window_measure(const window_t *window, const needs_t *needs) {
    size_t rows = needs->step_count;
    for (size_t t = 0; t < window->thread_count; t++)
        rows += thread_measure(&window->threads[t], needs->steps, needs->call_category ? needs->step_count : 0);
    return rows;
}

int window_read(pairing_t *p, needs_t *needs) {
    const window_t *window = p->window;
    for (size_t t = 0; t < window->thread_count; t++) {
        const sealed_thread_t *thread = &window->threads[t];
        Py_ssize_t before = p->row;
        p->waiting.count = p->steps.count = 0;
        p->orphans = 0;
        p->cpu.known = p->stack = 0;
        if (steps_read(p, needs->steps, needs->step_count, thread->tid) < 0) return -1;
        Py_ssize_t first = p->row;
        if (thread_read(p, thread) < 0) return -1;
        calls_split(p, first);
        needs->orphans[t] = p->orphans;
        needs->recorded[t] = p->row > before;
        p->track += needs->recorded[t];
    }
    for (size_t i = 0; i < needs->step_count; i++) { /* on threads that recorded nothing else */
        if (needs->steps[i].used) continue;
        if (steps_read(p, needs->steps, needs->step_count, needs->steps[i].tid) < 0) return -1;
        p->track++;
    }
    flows_name(p);
    return 0;
}
