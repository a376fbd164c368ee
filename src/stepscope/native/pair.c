/* Pairing: from each thread's begins and ends to slices and instants, cut at the window.

   The twin of twin/pair.py, with paired.c. What a task records stands on its lane. Ends are matched to the innermost
   open begin of the same span, the own lane's first. Rows are written in opening order, thread after thread: steps, what
   began before the first record, records. No Python object is touched here, so that the GIL is not needed. */

#include "pair.h"

#include <stdlib.h>
#include <string.h>

int list_grow(list_t *list, size_t more, size_t size) {
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

int args_add(pairing_t *p, Py_ssize_t row, PyObject *args) {
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

/* What the thread has computed for a lane, after the present record's CPU time: for tasks without what it has computed
   for others meanwhile. */
static cpu_t own_cpu(const pairing_t *p, uint32_t lane) {
    const lane_cpu_t *of = &p->cpu_of[lane];
    uint64_t others = of->others;
    if (lane != p->here.lane && of->left) others += p->cpu.ns - of->left;
    return (cpu_t){p->cpu.ns - (lane ? others : 0), p->cpu.thread, p->cpu.known};
}

static void turn_read(pairing_t *p, uint32_t lane) {
    if (unlikely(p->cpu.known)) {
        lane_cpu_t *from = &p->cpu_of[p->here.lane], *to = &p->cpu_of[lane];
        from->left = p->cpu.ns;
        if (to->left) to->others += p->cpu.ns - to->left;
        to->left = 0;
    }
    lane_set(p, lane);
}

static inline int waiting_push(pairing_t *p, uint64_t key, Py_ssize_t row) {
    list_t *waiting = &p->waiting[p->here.lane];
    if (unlikely(waiting->count == waiting->room) && list_grow(waiting, 1, sizeof(waiting_t)) < 0) return -1;
    cpu_t cpu = unlikely(p->cpu.known) ? own_cpu(p, p->here.lane) : p->cpu;
    ((waiting_t *)waiting->items)[waiting->count++] = (waiting_t){key, row, cpu};
    return 0;
}

/* Take out what waits at a place, where it is not the last; a call takes the calls inside it along, whose ends were not
   seen: they are cut where it ends. */
static __attribute__((noinline)) void waiting_remove(pairing_t *p, list_t *list, size_t place, uint64_t ticks) {
    waiting_t *waiting = list->items;
    uint64_t ends_calls = waiting[place].key & CALL_KEY;
    size_t kept = place;
    for (size_t i = place + 1; i < list->count; i++) {
        if (ends_calls & waiting[i].key) {
            row_end(p, waiting[i].row, ticks);
            p->columns.kind[waiting[i].row] |= ROW_CUT;
        } else {
            waiting[kept++] = waiting[i];
        }
    }
    list->count = kept;
}

/* Note what the thread of a waiting span has computed for it, if that is known and it is one thread. */
static int cpu_add(pairing_t *p, const waiting_t *waiting, uint32_t lane) {
    if (!waiting->cpu.known || waiting->cpu.thread != p->cpu.thread) return 0;
    if (list_grow(&p->cpus, 1, sizeof(row_cpu_t)) < 0) return -1;
    uint64_t ns = own_cpu(p, lane).ns - waiting->cpu.ns;
    ((row_cpu_t *)p->cpus.items)[p->cpus.count++] = (row_cpu_t){waiting->row, ns};
    return 0;
}

/* End the innermost span of that key that waits on a lane; 1, 0 if there is none, -1 without memory. */
static inline int waiting_end_on(pairing_t *p, uint32_t lane, uint64_t key, uint64_t ticks, Py_ssize_t *ended) {
    list_t *list = &p->waiting[lane];
    waiting_t *waiting = list->items;
    for (size_t place = list->count; place-- > 0;) {
        if (waiting[place].key != key) continue;
        *ended = waiting[place].row;
        row_end(p, *ended, ticks);
        int result = unlikely(p->cpu.known) ? cpu_add(p, &waiting[place], lane) : 0;
        if (likely(place + 1 == list->count))
            list->count--;
        else
            waiting_remove(p, list, place, ticks);
        return result < 0 ? -1 : 1;
    }
    return 0;
}

/* End the innermost waiting span of that key on the present lane, else on the first that has one; `ended` gets its row,
   or -1 if there is none. */
static inline int waiting_end(pairing_t *p, uint64_t key, uint64_t ticks, Py_ssize_t *ended) {
    int found = waiting_end_on(p, p->here.lane, key, ticks, ended);
    for (uint32_t lane = 0; unlikely(found == 0) && lane < p->lane_end; lane++)
        found = waiting_end_on(p, lane, key, ticks, ended);
    if (likely(found)) return found < 0 ? -1 : 0;
    *ended = -1;
    p->orphans++;
    return 0;
}

/* A call begins or ends, on the thread's own track. */
static inline int call_read(pairing_t *p, const record_t *record, uint64_t ticks, uint8_t kind) {
    uint32_t lane = p->here.lane;
    Py_ssize_t row;
    int result;
    lane_set(p, 0);
    if (record->kind == REC_CALL) {
        row = row_add(p, p->labels[record->id], ticks, kind);
        result = waiting_push(p, CALL_KEY | record->id, row);
    } else {
        result = waiting_end_on(p, 0, CALL_KEY | record->id, ticks, &row);
        p->orphans += result == 0;
    }
    if (unlikely(lane)) lane_set(p, lane);
    return result < 0 ? -1 : 0;
}

static int begin_read(pairing_t *p, const sealed_thread_t *thread, const record_t *record, uint8_t kind) {
    if (record->kind == REC_CALL) return call_read(p, record, clamped(p, record->ticks), kind);
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
    case REC_CALL:
    case REC_RETURN:
        return call_read(p, record, ticks, ROW_SLICE);
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
    case REC_TURN:
        turn_read(p, record->id);
        return 0;
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
        lane_set(p, begun->lane);
        if (begin_read(p, thread, begun->record, begun->cut ? ROW_SLICE | ROW_CUT : ROW_SLICE) < 0) return -1;
    }
    lane_set(p, part->lane);
    for (const chunk_t *chunk = part->first; chunk != NULL; chunk = chunk->next) {
        const record_t *record = chunk_records(part, chunk), *end = chunk->records + chunk->used;
        while ((record = plain_read(p, record, end)) < end) {
            if (unlikely(record_read(p, thread, record) < 0)) return -1;
            if (unlikely(p->cpu.known | p->stack) && record->kind != REC_CPU && record->kind != REC_STACK)
                p->cpu.known = p->stack = 0; /* they are good for one record */
            record += record_length(record);
        }
    }
    for (uint32_t lane = 0; lane < p->lane_end; lane++) {
        const waiting_t *waiting = p->waiting[lane].items;
        for (size_t i = 0; i < p->waiting[lane].count; i++) {
            row_end(p, waiting[i].row, p->window->sealed.ticks);
            p->columns.kind[waiting[i].row] |= ROW_CUT;
        }
        p->waiting[lane].count = 0;
    }
    return 0;
}

/* ---- flows ------------------------------------------------------------------------------------------------ */

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

size_t window_room(const window_t *window, const needs_t *needs) {
    size_t rows = needs->step_count;
    for (size_t t = 0; t < window->thread_count; t++) {
        const part_t *part = &window->threads[t].part;
        rows += part->begun.count;
        for (const chunk_t *chunk = part->first; chunk != NULL; chunk = chunk->next) rows += chunk->used;
    }
    return needs->call_category && needs->step_count ? 3 * rows : rows; /* a call may become three, see calls_split */
}

/* A thread of the window comes next, or of a step. */
static void thread_set(pairing_t *p, const sealed_thread_t *thread, const step_t *step) {
    p->here = (paired_track_t){0, thread, step};
    p->numbers[0] = NO_TRACK;
    p->steps.count = 0;
    p->orphans = 0;
}

int window_read(pairing_t *p, needs_t *needs) {
    const window_t *window = p->window;
    memset(p->numbers, 0xff, p->lane_end * sizeof *p->numbers); /* NO_TRACK */
    for (size_t t = 0; t < window->thread_count; t++) {
        const sealed_thread_t *thread = &window->threads[t];
        thread_set(p, thread, NULL);
        p->cpu.known = p->stack = 0;
        if (steps_read(p, needs->steps, needs->step_count, thread->tid) < 0) return -1;
        Py_ssize_t first = p->row;
        if (thread_read(p, thread) < 0) return -1;
        calls_split(p, first);
        needs->orphans[t] = p->orphans;
    }
    for (size_t i = 0; i < needs->step_count; i++) { /* on threads that recorded nothing else */
        if (needs->steps[i].used) continue;
        thread_set(p, NULL, &needs->steps[i]);
        if (steps_read(p, needs->steps, needs->step_count, needs->steps[i].tid) < 0) return -1;
    }
    flows_name(p);
    return 0;
}
