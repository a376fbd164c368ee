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
    case REC_INSTANT_ARGS:
        payload_free(&part->payloads, record[1].id);
        return 1;
    default: /* an instant, a counter, a flow's point */
        return 1;
    }
}

chunk_t *chunk_recycle(buffer_t *mine) {
    buffer_t *victim = mine;
    for (buffer_t *buffer = recorder.buffers; buffer != NULL; buffer = buffer->next)
        if (buffer->part.chunks > victim->part.chunks) victim = buffer;
    part_t *part = &victim->part;
    chunk_t *chunk = part->first;
    /* Another thread goes on in its last one. */
    if (chunk == NULL || (chunk == part->last && victim != mine)) return NULL;
    const record_t *end = chunk == part->last ? victim->pos : chunk->records + chunk->used;
    for (const record_t *record = chunk->records; record < end; record += record_length(record))
        part->dropped += record_drop(part, record);
    part->first = chunk->next;
    part->chunks--;
    if (part->first == NULL) {
        part->last = NULL;
        victim->pos = victim->end = NULL;
    }
    return chunk;
}
