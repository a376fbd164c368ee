/* The policy "ring": when the budget is spent, the oldest records make room for new ones.

   What is taken is read once more: what is over is dropped and counted, and the spans that begin in it and end later are
   noted with their begin, so that no span that is kept loses its own. Records take a whole chunk; arguments, of which a
   chunk may have many times its size, no more than they need. */

#include "recorder.h"

#include <stdlib.h>
#include <string.h>

#define RECYCLED_RECORDS 256 /* at once, for arguments */

int begun_add(begun_list_t *begun, const record_t *record, uint32_t lane, int cut) {
    if (begun->count == begun->room) {
        uint32_t room = begun->room ? 2 * begun->room : 16;
        begun_t *of = realloc(begun->of, room * sizeof *of);
        if (of == NULL) return -1;
        begun->of = of;
        begun->room = room;
    }
    begun_t *item = &begun->of[begun->count++];
    item->record[0] = record[0];
    if (record_length(record) == 2) item->record[1] = record[1];
    item->lane = lane;
    item->cut = cut;
    return 0;
}

/* Whether a record ends what has begun. */
static int ends(const record_t *record, const record_t *begun) {
    if (record->kind == REC_RETURN) return begun->kind == REC_CALL && begun->id == record->id;
    if (record->kind == REC_END) return begun->kind == REC_BEGIN && begun->id == record->id;
    return begun->kind == REC_BEGIN_ARGS && (uint32_t)begun[1].ticks == record->id;
}

/* The place of the innermost span that a record ends, in its own lane, else in the first that has it; -1: nowhere. */
static int64_t begun_find(const part_t *part, const record_t *record) {
    const begun_list_t *begun = &part->begun;
    int64_t found = -1;
    for (uint32_t place = begun->count; place-- > 0;) {
        if (!ends(record, begun->of[place].record)) continue;
        if (begun->of[place].lane == part->lane) return place;
        if (found < 0 || begun->of[place].lane < begun->of[found].lane) found = place;
    }
    return found;
}

/* Forget the innermost span that a record ends; how many records that drops. */
static uint64_t begun_end(part_t *part, const record_t *record) {
    begun_list_t *begun = &part->begun;
    int64_t place = begun_find(part, record);
    if (place < 0) return 1;
    begun_t *item = &begun->of[place];
    if (item->record->kind == REC_BEGIN_ARGS) payload_free(&part->payloads, item->record[1].id);
    begun->count--;
    memmove(item, item + 1, (begun->count - (size_t)place) * sizeof *item);
    return 2;
}

static uint64_t record_drop(part_t *part, const record_t *record) {
    switch (record->kind) {
    case REC_BEGIN:
    case REC_BEGIN_ARGS:
        return begun_add(&part->begun, record, part->lane, 0) < 0;
    case REC_CALL:
        return begun_add(&part->begun, record, 0, 0) < 0;
    case REC_TURN:
        part->lane = record->id;
        return 0; /* it is no event */
    case REC_END:
    case REC_RETURN:
    case REC_END_SERIAL:
        return begun_end(part, record);
    case REC_END_ARGS:
        payload_free(&part->payloads, record[1].id);
        return begun_end(part, record);
    case REC_CPU: /* no event */
    case REC_STACK:
        return 0;
    case REC_INSTANT_ARGS:
        payload_free(&part->payloads, record[1].id);
        return 1;
    default: /* an instant, a counter, a flow's point */
        return 1;
    }
}

static const record_t *chunk_end(const buffer_t *buffer, const chunk_t *chunk) {
    return chunk == buffer->part.last ? buffer->pos : chunk->records + chunk->used;
}

/* Who has the oldest records; NULL: nobody has any. */
static buffer_t *oldest_buffer(void) {
    buffer_t *oldest = NULL;
    uint64_t ticks = 0;
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next) {
        const chunk_t *first = buffer->part.first;
        if (first == NULL) continue;
        const record_t *record = chunk_records(&buffer->part, first);
        if (first == buffer->part.last) {
            if (buffer->pos == record) continue; /* it is empty */
            /* Its thread may be in the middle of a record: the clock of tests runs Python code there. */
            if (ticks_kind == TICKS_PYTHON && buffer != thread_slot.buffer) continue;
        }
        if (oldest != NULL && record->ticks >= ticks) continue;
        oldest = buffer;
        ticks = record->ticks;
    }
    return oldest;
}

/* Drop that many records of a buffer's first chunk, or all; if all, the chunk is nobody's then. NULL: it has others. */
static chunk_t *chunk_drop(buffer_t *buffer, size_t records) {
    part_t *part = &buffer->part;
    chunk_t *chunk = part->first;
    const record_t *record = chunk_records(part, chunk), *end = chunk_end(buffer, chunk);
    for (; record < end && records > 0; record += record_length(record), records--) part->dropped += record_drop(part, record);
    if (record < end) {
        part->gone = (uint32_t)(record - chunk->records);
        return NULL;
    }
    part->first = chunk->next;
    part->chunks--;
    part->gone = 0;
    if (part->first == NULL) {
        part->last = NULL;
        buffer->pos = buffer->end = NULL;
    }
    return chunk;
}

chunk_t *chunk_recycle(void) {
    buffer_t *buffer = oldest_buffer();
    return buffer == NULL ? NULL : chunk_drop(buffer, SIZE_MAX);
}

int records_recycle(void) {
    buffer_t *buffer = oldest_buffer();
    if (buffer == NULL) return 0;
    chunk_t *chunk = chunk_drop(buffer, RECYCLED_RECORDS);
    if (chunk != NULL) chunk_free(chunk);
    return 1;
}

/* ---- labels ------------------------------------------------------------------------------------------------ */

/* Per id, whether some record has it. */
typedef struct {
    char *labels, *series, *lanes;
} marks_t;

static void mark(marks_t marks, const record_t *record) {
    switch (record->kind) {
    case REC_TURN:
        marks.lanes[record->id] = 1;
        return;
    case REC_COUNTER:
        marks.series[record->id] = 1;
        return;
    case REC_END_SERIAL:
    case REC_END_ARGS:
    case REC_CPU:
        return;
    case REC_FLOW:
        if (record[1].id) marks.labels[record->id] = 1;
        return;
    default:
        marks.labels[record->id] = 1;
    }
}

/* Mark the ids that records have. */
static void mark_all(marks_t marks) {
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next) {
        const part_t *part = &buffer->part;
        marks.lanes[part->lane] = marks.lanes[part->next_lane] = 1;
        for (uint32_t i = 0; i < part->begun.count; i++) {
            marks.lanes[part->begun.of[i].lane] = 1;
            mark(marks, part->begun.of[i].record);
        }
        for (const chunk_t *chunk = part->first; chunk != NULL; chunk = chunk->next) {
            const record_t *end = chunk_end(buffer, chunk);
            for (const record_t *record = chunk_records(part, chunk); record < end; record += record_length(record))
                mark(marks, record);
        }
    }
}

/* Keep the keys whose ids are marked; what they take. */
static size_t registry_keep(registry_t *registry, const char *marked, size_t (*bytes_of)(PyObject *)) {
    PyObject *kept = PyDict_New(), *key, *number;
    Py_ssize_t place = 0;
    size_t bytes = 0;
    while (kept != NULL && PyDict_Next(registry->ids, &place, &key, &number)) {
        if (!marked[PyLong_AsUnsignedLong(number)]) continue;
        bytes += bytes_of(key);
        if (PyDict_SetItem(kept, key, number) < 0) Py_CLEAR(kept);
    }
    if (kept == NULL) { /* no memory: all stay */
        PyErr_Clear();
        bytes = 0;
        for (place = 0; PyDict_Next(registry->ids, &place, &key, &number);) bytes += bytes_of(key);
    } else {
        Py_SETREF(registry->ids, kept);
    }
    return bytes;
}

static size_t lane_bytes(PyObject *Py_UNUSED(lane)) { return LANE_BYTES; }

void registries_compact(void) {
    marks_t marks = {calloc(recorder.labels.next + 1, 1), calloc(recorder.series.next + 1, 1),
                     calloc(recorder.lanes.next + 1, 1)};
    if (marks.labels != NULL && marks.series != NULL && marks.lanes != NULL) {
        mark_all(marks);
        recorder.text_bytes = registry_keep(&recorder.labels, marks.labels, label_bytes);
        recorder.text_bytes += registry_keep(&recorder.series, marks.series, series_bytes);
        recorder.text_bytes += registry_keep(&recorder.lanes, marks.lanes, lane_bytes);
        recorder.registry++; /* spans and lanes ask again for their ids */
    }
    free(marks.labels);
    free(marks.series);
    free(marks.lanes);
}
