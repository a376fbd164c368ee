/* The packets of a .pftrace file: TrackEvents of one sequence a track; the twin of twin/perfetto.py, with
   perfetto_rows.c and perfetto_input.c.

       TracePacket       0a len | 40 timestamp delta | 50 sequence | 68 02 | 5a len TrackEvent | 62 len InternedData
       TrackEvent begin  48 01 | 18 category iid | 50 name iid | 22 len DebugAnnotation ... | f9 02 flow id ...
       TrackEvent end    48 02
       TrackEvent point  48 03 | as begin
       InternedData      table len | 08 iid | 12 len text

   Where a row's function is, is its first annotation: 22 len | 08 name iid | 88 01 site iid.
   The last point of a flow ends it: 81 03 flow id. An end needs no sequence flags. Each track is walked with the stack of its open slices, without the GIL, straight
   into the bytes object that is handed out. The walk stops wherever the next packet may not fit, and goes on there for
   the next chunk. */

#include "perfetto.h"

#include <string.h>

enum { BEGIN = 1, END = 2, POINT = 3 };
/* What any packet takes beside its texts and annotations, and what an entry of InternedData takes beside its text. */
enum { PACKET_SLACK = 128, ENTRY_SLACK = 32 };
/* f9 02 or 81 03, and 8 bytes. */
enum { FLOW_ID_LENGTH = 10 };

/* {"stepscope:cut": true}, with its name inline. */
static const char CUT_MARK[] = "\x22\x11\x52\x0dstepscope:cut\x10\x01";
enum { CUT_MARK_LENGTH = sizeof CUT_MARK - 1 };

/* ---- the wire ---- */

/* put_varint of a number whose length is hard to foretell: up to four bytes are written at once. */
static inline uint8_t *put_delta(uint8_t *to, uint64_t value) {
    if (unlikely(value >> 28))
        return put_varint(to, value);
    uint32_t bits = (uint32_t)value, length = 1 + (bits >= 1 << 7) + (bits >= 1 << 14) + (bits >= 1 << 21);
    uint32_t more = 0x80808080 & (((uint32_t)1 << (8 * length - 8)) - 1);
    bits = more | (bits & 0x7f) | (bits & 0x3f80) << 1 | (bits & 0x1fc000) << 2 | (bits & 0xfe00000) << 3;
    to[0] = (uint8_t)bits;
    to[1] = (uint8_t)(bits >> 8);
    to[2] = (uint8_t)(bits >> 16);
    to[3] = (uint8_t)(bits >> 24);
    return to + length;
}

/* ---- packets ---- */

static size_t site_length(uint32_t site_name, uint32_t site) { return 3 + varint_length(site_name) + varint_length(site); }

/* The annotation that says where the row's function is. */
static inline uint8_t *put_site(uint8_t *to, uint32_t site_name, uint32_t site) {
    uint8_t *body = to + 2;
    to[0] = 0x22;
    to[2] = 0x08;
    to = put_varint(to + 3, site_name);
    *to++ = 0x88;
    *to++ = 0x01;
    to = put_varint(to, site);
    body[-1] = (uint8_t)(to - body);
    return to;
}

static inline uint8_t *put_end(uint8_t *to, const sequence_t *sequence, uint64_t delta) {
    uint8_t *body = to + 2;
    to[0] = 0x0a;
    to[2] = 0x40;
    to = put_delta(to + 3, delta);
    memcpy(to, sequence->end, sizeof sequence->end);
    to += sequence->end_length;
    body[-1] = (uint8_t)(to - body);
    return to;
}

/* A begin or a point without annotations but its site whose texts are interned: all its lengths are one byte. */
static inline uint8_t *put_plain(uint8_t *to, const sequence_t *sequence, uint64_t delta, const row_t *row,
                                 uint32_t site_name) {
    uint8_t *body = to + 2;
    to[0] = 0x0a;
    to[2] = 0x40;
    to = put_delta(to + 3, delta);
    memcpy(to, sequence->begin, sizeof sequence->begin);
    to += sequence->begin_length;
    uint8_t *event = to + 1;
    event[0] = 0x48;
    event[1] = row->kind & ROW_INSTANT ? POINT : BEGIN;
    event[2] = 0x18;
    to = put_varint(event + 3, row->cat);
    *to++ = 0x50;
    to = put_varint(to, row->name);
    if (row->site)
        to = put_site(to, site_name, row->site);
    event[-1] = (uint8_t)(to - event);
    body[-1] = (uint8_t)(to - body);
    return to;
}

/* The flow points of a row: how many, the first one's place in *from. */
static size_t points_at(const perfetto_rows_t *self, uint32_t row, size_t *from) {
    uint32_t place = self->flows.of ? self->flows.of[row] : 0;
    size_t at = *from = place - 1;
    while (place && at < self->flows.count && self->flows.points[at].row == row)
        at++;
    return at - *from;
}

static uint8_t *put_flow_id(const flows_t *flows, uint8_t *to, const flow_point_t *point) {
    uint64_t id = ((uint64_t)flows->names[point->flow] + 1) << 40 | ((uint64_t)point->flow + 1);
    *to++ = point->stands == FLOW_LAST ? 0x81 : 0xf9;
    *to++ = point->stands == FLOW_LAST ? 0x03 : 0x02;
    for (int byte = 0; byte < 8; byte++)
        *to++ = (uint8_t)(id >> 8 * byte);
    return to;
}

/* Bytes that are enough for a row's packet, whatever it has to intern. */
static size_t packet_room(const perfetto_rows_t *self, const row_t *row, const annotations_t *annotations) {
    size_t from, room = PACKET_SLACK + CUT_MARK_LENGTH + FLOW_ID_LENGTH * points_at(self, row->number, &from);
    room += self->texts.of[row->cat].length + self->texts.of[row->name].length;
    if (row->site)
        room += 3 * ENTRY_SLACK + self->texts.of[row->site].length + self->annotation_names.of[self->site_name].length;
    if (annotations) {
        room += annotations->length;
        for (size_t i = 0; i < annotations->count; i++)
            room += ENTRY_SLACK + self->annotation_names.of[self->used[annotations->first + i]].length;
    }
    return room;
}

/* A begin or a point of any form; packet_room says how much room it needs. */
static uint8_t *put_event(perfetto_rows_t *self, uint8_t *to, uint64_t delta, const row_t *row,
                          const annotations_t *annotations) {
    const sequence_t *sequence = &self->sequences[self->track];
    const interned_t interned = intern_row(self, row, annotations);
    size_t cut = row->kind & ROW_CUT ? CUT_MARK_LENGTH : 0, encoded = annotations ? annotations->length : 0;
    size_t from, points = points_at(self, row->number, &from);
    size_t event = 4 + varint_length(row->cat) + varint_length(row->name) + encoded + cut + FLOW_ID_LENGTH * points;
    event += row->site ? 2 + site_length(self->site_name, row->site) : 0;
    size_t packet = 1 + varint_length(delta) + sequence->begin_length + varint_length(event) + event;
    if (interned.length)
        packet += 1 + varint_length(interned.length) + interned.length;

    *to++ = 0x0a;
    to = put_varint(to, packet);
    *to++ = 0x40;
    to = put_varint(to, delta);
    to = put_bytes(to, sequence->begin, sequence->begin_length);
    to = put_varint(to, event);
    *to++ = 0x48;
    *to++ = row->kind & ROW_INSTANT ? POINT : BEGIN;
    *to++ = 0x18;
    to = put_varint(to, row->cat);
    *to++ = 0x50;
    to = put_varint(to, row->name);
    if (row->site)
        to = put_site(to, self->site_name, row->site);
    if (encoded)
        to = put_bytes(to, annotations->encoded, encoded);
    to = put_bytes(to, CUT_MARK, cut);
    for (size_t i = 0; i < points; i++)
        to = put_flow_id(&self->flows, to, &self->flows.points[from + i]);
    return interned.length ? put_interned(self, to, row, &interned) : to;
}

/* ---- rows ---- */

/* The end of a slice, modulo 2**64. */
static inline uint64_t end_of(const open_slice_t *slice) {
    return (uint64_t)slice->start + (uint64_t)slice->dur;
}

static inline row_t row_at(const columns_t *columns, uint32_t number) {
    return (row_t){columns->ts[number],   columns->dur[number],  number,
                   columns->cat[number],  columns->name[number], columns->site[number],
                   columns->kind[number]};
}

/* Rows were written long ago, and a processor does not look beyond a page by itself. */
static inline void prefetch(const columns_t *columns, size_t at) {
    enum { AHEAD = 128 };
    __builtin_prefetch(columns->ts + at + AHEAD);
    __builtin_prefetch(columns->dur + at + AHEAD);
    __builtin_prefetch(columns->name + at + AHEAD);
    __builtin_prefetch(columns->cat + at + AHEAD);
}

/* Why a row cannot be encoded, or WRITTEN. texts, sites: how many ids there are. Its ids and dur were valid at the start, but the columns are only held
   against being resized. */
static inline outcome_t row_fault(const row_t *row, uint32_t texts, uint32_t sites, int64_t before, int64_t start_ns) {
    if (unlikely(row->cat >= texts || row->name >= texts || row->site >= sites || row->dur < 0))
        return row->dur < 0 ? NEGATIVE : INVALID;
    if (unlikely(row->ts < before))
        return row->ts < start_ns ? BEFORE_START : BACKWARDS;
    return WRITTEN;
}

/* Whether a slice ends after the one it begins in: time only goes on where slices nest. */
static inline int overruns(const row_t *row, const open_slice_t *above) {
    return (uint64_t)row->dur > (uint64_t)above->dur - since(above->start, row->ts);
}

/* Encode a row that is not plain: it has annotations, a mark or flow points, or a text that is new. NULL if it may not
   fit. Never inlined: the registers are for the plain ones. */
static __attribute__((noinline)) uint8_t *put_marked(perfetto_rows_t *self, uint8_t *to, const uint8_t *end, row_t row,
                                                     uint64_t delta) {
    uint32_t place = self->args.of ? self->args.of[row.number] : 0;
    const annotations_t *annotations = place ? &self->annotations[place - 1] : NULL;
    size_t needed = packet_room(self, &row, annotations);
    if ((size_t)(end - to) < needed) {
        self->needed = needed;
        return NULL;
    }
    return put_event(self, to, delta, &row, annotations);
}

/* Encode rows of the track until a packet may not fit before end, or none is left. What the loop needs is kept in
   locals: bytes may be written over anything, as far as a compiler knows. */
static outcome_t put_rows(perfetto_rows_t *self, uint8_t **out, const uint8_t *end) {
    const columns_t columns = self->columns;
    const sequence_t sequence = self->sequences[self->track];
    const uint32_t *rows = self->rows, texts = (uint32_t)self->texts.count;
    const uint8_t *marked = self->marked;
    const uint32_t *seen_names = self->seen[SEEN_NAMES], *seen_categories = self->seen[SEEN_CATEGORIES];
    const uint32_t *seen_sites = self->seen[SEEN_SITES], site_name = self->site_name;
    const uint32_t now = (uint32_t)self->track + 1;
    open_slice_t *slices = self->open.slices;
    size_t at = self->at, depth = self->open.depth;
    uint64_t last = self->last;
    int64_t before = self->before;
    uint8_t *to = *out;
    outcome_t outcome = WRITTEN;
    for (; at < sequence.rows_end; at++) {
        prefetch(&columns, at);
        const row_t row = row_at(&columns, rows ? rows[at] : (uint32_t)at);
        outcome = row_fault(&row, texts, site_name ? texts : 1, before, sequence.start_ns);
        if (unlikely(outcome != WRITTEN))
            break;
        while (depth && end - to >= PACKET_SLACK && has_ended(&slices[depth - 1], row.ts, row.dur)) {
            uint64_t ended = end_of(&slices[--depth]);
            to = put_end(to, &sequence, ended - last);
            last = ended;
        }
        if (unlikely(end - to < PACKET_SLACK)) {
            self->needed = PACKET_SLACK;
            outcome = FULL;
            break;
        }
        int is_slice = !(row.kind & ROW_INSTANT);
        if (depth && is_slice && unlikely(overruns(&row, &slices[depth - 1]))) {
            outcome = OVERLAPS;
            break;
        }
        uint64_t delta = (uint64_t)row.ts - last;
        uint8_t *next;
        if (likely(!(marked && marked[row.number]) && !(row.kind & ROW_CUT) && seen_names[row.name] == now &&
                   seen_categories[row.cat] == now && (!row.site || seen_sites[row.site] == now)))
            next = put_plain(to, &sequence, delta, &row, site_name);
        else
            next = put_marked(self, to, end, row, delta);
        if (unlikely(next == NULL)) {
            outcome = FULL;
            break;
        }
        to = next;
        last = (uint64_t)row.ts;
        before = row.ts;
        if (is_slice && unlikely(depth == self->open.room)) {
            if (open_slices_grow(&self->open) < 0) {
                outcome = NO_MEMORY;
                break;
            }
            slices = self->open.slices;
        }
        if (is_slice)
            slices[depth++] = (open_slice_t){row.ts, row.dur, row.number};
    }
    self->at = at;
    self->open.depth = depth;
    self->last = last;
    self->before = before;
    *out = to;
    return outcome;
}

/* End the slices that are open where the track's rows end. */
static outcome_t put_last_ends(perfetto_rows_t *self, uint8_t **out, const uint8_t *end) {
    while (self->open.depth) {
        if (end - *out < PACKET_SLACK) {
            self->needed = PACKET_SLACK;
            return FULL;
        }
        uint64_t ended = end_of(&self->open.slices[--self->open.depth]);
        *out = put_end(*out, &self->sequences[self->track], ended - self->last);
        self->last = ended;
    }
    return WRITTEN;
}

outcome_t perfetto_put(perfetto_rows_t *self, uint8_t **out, const uint8_t *end) {
    for (; self->track < self->tracks; self->track++, self->opened = 0) {
        const sequence_t *sequence = &self->sequences[self->track];
        if (!self->opened) {
            if ((size_t)(end - *out) < sequence->preamble_length) {
                self->needed = sequence->preamble_length;
                return FULL;
            }
            *out = put_bytes(*out, sequence->preamble, sequence->preamble_length);
            self->before = sequence->start_ns;
            self->last = (uint64_t)sequence->start_ns;
            self->opened = 1;
        }
        outcome_t outcome = put_rows(self, out, end);
        if (outcome == WRITTEN)
            outcome = put_last_ends(self, out, end);
        if (outcome != WRITTEN)
            return outcome;
    }
    self->finished = 1;
    return WRITTEN;
}
