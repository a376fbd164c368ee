/* The policy "ring": when the budget is spent, the oldest records make room for new ones.

   A chunk that is taken is read once more: what is over is dropped and counted, and the spans that begin in it and end
   later are noted with their begin, so that no span that is kept loses its own. */

#include "recorder.h"

#include <stdlib.h>
#include <string.h>

int begun_add(begun_list_t *begun, const record_t *record, int cut) {
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
    item->cut = cut;
    return 0;
}

/* Whether a record ends what has begun. */
static int ends(const record_t *record, const record_t *begun) {
    if (record->kind == REC_END) return begun->kind == REC_BEGIN && begun->id == record->id;
    return begun->kind == REC_BEGIN_ARGS && (uint32_t)begun[1].ticks == record->id;
}

/* Forget the innermost span that a record ends; how many records that drops. */
static uint64_t begun_end(part_t *part, const record_t *record) {
    begun_list_t *begun = &part->begun;
    for (uint32_t place = begun->count; place-- > 0;) {
        begun_t *item = &begun->of[place];
        if (!ends(record, item->record)) continue;
        if (item->record->kind == REC_BEGIN_ARGS) payload_free(&part->payloads, item->record[1].id);
        begun->count--;
        memmove(item, item + 1, (begun->count - place) * sizeof *item);
        return 2;
    }
    return 1;
}

static uint64_t record_drop(part_t *part, const record_t *record) {
    switch (record->kind) {
    case REC_BEGIN:
    case REC_BEGIN_ARGS:
        return begun_add(&part->begun, record, 0) < 0;
    case REC_END:
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

/* Whose first chunk is the oldest; NULL: nobody has records. */
static buffer_t *oldest_buffer(void) {
    buffer_t *oldest = NULL;
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next) {
        const chunk_t *first = buffer->part.first;
        if (first == NULL) continue;
        if (first == buffer->part.last) {
            if (buffer->pos == first->records) continue; /* it is empty */
            /* Its thread may be in the middle of a record: the clock of tests runs Python code there. */
            if (ticks_kind == TICKS_PYTHON && buffer != thread_slot.buffer) continue;
        }
        if (oldest == NULL || first->records[0].ticks < oldest->part.first->records[0].ticks) oldest = buffer;
    }
    return oldest;
}

chunk_t *chunk_recycle(void) {
    buffer_t *buffer = oldest_buffer();
    if (buffer == NULL) return NULL;
    part_t *part = &buffer->part;
    chunk_t *chunk = part->first;
    const record_t *end = chunk == part->last ? buffer->pos : chunk->records + chunk->used;
    for (const record_t *record = chunk->records; record < end; record += record_length(record))
        part->dropped += record_drop(part, record);
    part->first = chunk->next;
    part->chunks--;
    if (part->first == NULL) {
        part->last = NULL;
        buffer->pos = buffer->end = NULL;
    }
    return chunk;
}

/* ---- labels ------------------------------------------------------------------------------------------------ */

static void mark(const record_t *record, char *labels, char *series) {
    int labelled = record->kind != REC_END_SERIAL && record->kind != REC_END_ARGS && record->kind != REC_CPU &&
                   (record->kind != REC_FLOW || record[1].id);
    if (record->kind == REC_COUNTER)
        series[record->id] = 1;
    else if (labelled)
        labels[record->id] = 1;
}

/* Mark the ids that records have. */
static void mark_all(char *labels, char *series) {
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next) {
        const part_t *part = &buffer->part;
        for (uint32_t i = 0; i < part->begun.count; i++) mark(part->begun.of[i].record, labels, series);
        for (const chunk_t *chunk = part->first; chunk != NULL; chunk = chunk->next) {
            const record_t *end = chunk == part->last ? buffer->pos : chunk->records + chunk->used;
            for (const record_t *record = chunk->records; record < end; record += record_length(record))
                mark(record, labels, series);
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

void registries_compact(void) {
    char *labels = calloc(recorder.labels.next + 1, 1), *series = calloc(recorder.series.next + 1, 1);
    if (labels != NULL && series != NULL) {
        mark_all(labels, series);
        recorder.text_bytes = registry_keep(&recorder.labels, labels, label_bytes);
        recorder.text_bytes += registry_keep(&recorder.series, series, series_bytes);
        recorder.registry++; /* spans ask again for their ids */
    }
    free(labels);
    free(series);
}
