/* Plain records, which nearly all are: begins and ends of spans without arguments and of calls, that nest and stand on
   one lane.

   A run of them is paired here with all that it needs in registers. What is not plain ends the run, and goes the long
   way in pair.c, where the twin's rules are spelled out. */

#include "pair.h"

/* Records were written long ago, and a processor does not look beyond a page by itself: one KiB is asked for ahead. */
enum { AHEAD = 64 };

const record_t *plain_read(pairing_t *p, const record_t *record, const record_t *end) {
    const uint64_t opened = p->window->opened.ticks, sealed = p->window->sealed.ticks;
    const uint32_t last = p->here.lane ? REC_END : REC_RETURN; /* calls stand on the thread's own track */
    const tick_scale_t scale = p->scale;
    const int64_t shift_ns = p->shift_ns;
    const label_t *labels = p->labels;
    const columns_t columns = p->columns;
    const uint32_t track = p->track;
    list_t *list = &p->waiting[p->here.lane];
    waiting_t *waiting = list->items;
    size_t depth = list->count, room = list->room;
    Py_ssize_t row = p->row;
    if (track == NO_TRACK || p->cpu.known || p->stack) return record;
    for (; record < end; record++) {
        __builtin_prefetch(record + AHEAD);
        uint64_t ticks = record->ticks;
        uint32_t kind = record->kind;
        uint64_t key = record->id | (uint64_t)(kind >> 1) << 62; /* CALL_KEY of a call */
        if (unlikely(kind > last)) break;
        if (unlikely(ticks < opened || ticks > sealed)) ticks = clamped(p, ticks);
        int64_t ts = ticks_to_ns(&scale, ticks) + shift_ns;
        if (kind & REC_END) {
            if (unlikely(depth == 0 || waiting[depth - 1].key != key)) break;
            Py_ssize_t began = waiting[--depth].row;
            columns.dur[began] = ts - columns.ts[began];
        } else {
            if (unlikely(depth == room)) break;
            label_t label = labels[record->id];
            columns.ts[row] = ts;
            columns.name[row] = label.name;
            columns.cat[row] = label.cat;
            columns.site[row] = label.site;
            columns.track[row] = track;
            columns.kind[row] = ROW_SLICE;
            waiting_t *pushed = &waiting[depth++];
            pushed->key = key;
            pushed->row = row++;
            pushed->cpu.known = 0;
        }
    }
    p->row = row;
    list->count = depth;
    return record;
}
