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
    if (unlikely(p->waiting.count == p->waiting.room) && list_grow(&p->waiting, 1, sizeof(waiting_t)) < 0) return -1;
    ((waiting_t *)p->waiting.items)[p->waiting.count++] = (waiting_t){key, row, p->cpu};
    return 0;
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
        if (likely(place == --p->waiting.count)) return result;
        memmove(&waiting[place], &waiting[place + 1], (p->waiting.count - place) * sizeof *waiting);
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

/* Records were written long ago, and a processor does not look beyond a page by itself: one KiB is asked for ahead. */
enum { AHEAD = 64 };

static int thread_read(pairing_t *p, const sealed_thread_t *thread) {
    const part_t *part = &thread->part;
    for (uint32_t i = 0; i < part->begun.count; i++) {
        const begun_t *begun = &part->begun.of[i];
        if (begin_read(p, thread, begun->record, begun->cut ? ROW_SLICE | ROW_CUT : ROW_SLICE) < 0) return -1;
    }
    for (const chunk_t *chunk = part->first; chunk != NULL; chunk = chunk->next) {
        const record_t *record = chunk->records, *end = record + chunk->used;
        while (record < end) {
            __builtin_prefetch(record + AHEAD);
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

static void steps_read(pairing_t *p, step_t *steps, size_t count, unsigned long tid) {
    for (size_t i = 0; i < count; i++) {
        if (steps[i].used || steps[i].tid != tid) continue;
        uint64_t start = clamped(p, steps[i].start), end = clamped(p, steps[i].end);
        int cut = start != steps[i].start || end != steps[i].end;
        Py_ssize_t row = row_add(p, (label_t){steps[i].name, ANNOTATION, 0}, start, cut ? ROW_SLICE | ROW_CUT : ROW_SLICE);
        row_end(p, row, end);
        steps[i].used = 1;
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

size_t window_room(const window_t *window, size_t step_count) {
    size_t rows = step_count;
    for (size_t t = 0; t < window->thread_count; t++) {
        const part_t *part = &window->threads[t].part;
        rows += part->begun.count;
        for (const chunk_t *chunk = part->first; chunk != NULL; chunk = chunk->next) rows += chunk->used;
    }
    return rows;
}

int window_read(pairing_t *p, needs_t *needs) {
    const window_t *window = p->window;
    for (size_t t = 0; t < window->thread_count; t++) {
        const sealed_thread_t *thread = &window->threads[t];
        Py_ssize_t before = p->row;
        p->waiting.count = 0;
        p->orphans = 0;
        p->cpu.known = p->stack = 0;
        steps_read(p, needs->steps, needs->step_count, thread->tid);
        if (thread_read(p, thread) < 0) return -1;
        needs->orphans[t] = p->orphans;
        needs->recorded[t] = p->row > before;
        p->track += needs->recorded[t];
    }
    for (size_t i = 0; i < needs->step_count; i++) { /* on threads that recorded nothing else */
        if (needs->steps[i].used) continue;
        steps_read(p, needs->steps, needs->step_count, needs->steps[i].tid);
        p->track++;
    }
    flows_name(p);
    return 0;
}
