/* What the files of the Perfetto encoder share: the state of the iterator, which perfetto_rows.c makes and drives,
   perfetto_input.c fills from what Python hands over, and perfetto.c encodes from. */

#ifndef STEPSCOPE_PERFETTO_H
#define STEPSCOPE_PERFETTO_H

#include "ahead.h"

#include <string.h>

enum { CATEGORIES = 1, NAMES = 2, ANNOTATION_NAMES = 3, STRING_VALUES = 29 }; /* fields of InternedData */
enum { SEEN_CATEGORIES, SEEN_NAMES, SEEN_ANNOTATION_NAMES, SEEN_SITES, TABLES };

/* A track's sequence, and what its packets have in common. */
typedef struct {
    uint8_t begin[16], end[16]; /* 50 sequence 68 02 5a, and 50 sequence 5a 02 48 02 */
    size_t begin_length, end_length;
    int64_t start_ns;
    const char *preamble; /* of the object in self->kept */
    size_t preamble_length;
    size_t rows_end; /* in self->rows */
} sequence_t;

/* Names that a row's annotations use: in self->used. */
typedef struct {
    const char *encoded; /* of the object in self->args */
    size_t length;
    size_t first, count;
} annotations_t;

/* All but WRITTEN and FULL is an error, of the row at self->at. */
typedef enum { WRITTEN, FULL, NO_MEMORY, INVALID, BEFORE_START, BACKWARDS, NEGATIVE, OVERLAPS } outcome_t;

/* The iterator: what it encodes from, and how far it has come. */
typedef struct {
    PyObject_HEAD
    columns_t columns;
    texts_t texts, annotation_names;
    row_objects_t args;
    flows_t flows;
    uint8_t *marked;            /* row -> whether it has args or flow points; NULL: none has */
    annotations_t *annotations; /* by place in args */
    uint32_t *used;             /* annotation names, row after row */
    size_t *pending;            /* texts that the packet at hand interns */
    PyObject *kept;             /* the sequences */
    sequence_t *sequences;
    size_t tracks;
    uint32_t *rows;         /* row numbers, track after track; NULL: there is one track, and they count from 0 */
    uint32_t site_name;     /* the annotation name that rows with a site use; 0: there are none */
    uint32_t *seen[TABLES]; /* by id: 1 + the track whose sequence has interned it last */
    open_slices_t open;
    size_t track, at;   /* the next row is rows[at] */
    int opened;         /* the track's preamble is written */
    int64_t before;     /* ts of the row before, or where the sequence's clock starts */
    uint64_t last;      /* time of the packet before, modulo 2**64 */
    size_t needed;      /* bytes for the next packet, if it is larger than a chunk */
    outcome_t outcome;  /* why the last chunk ended */
    int finished;       /* all is written, or an error was raised */
    ahead_t ahead;
} perfetto_rows_t;

static inline uint8_t *put_varint(uint8_t *to, uint64_t value) {
    while (value >= 0x80) {
        *to++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *to++ = (uint8_t)value;
    return to;
}

/* A row as the columns have it. */
typedef struct {
    int64_t ts, dur;
    uint32_t number, cat, name, site;
    int kind;
} row_t;

static inline size_t varint_length(uint64_t value) {
    size_t length = 1;
    for (; value >= 0x80; value >>= 7)
        length++;
    return length;
}

static inline uint8_t *put_bytes(uint8_t *to, const void *from, size_t length) {
    memcpy(to, from, length);
    return to + length;
}

/* ---- perfetto_intern.c ---- */

/* What a packet interns: self->pending has the annotation names. */
typedef struct {
    const text_t *category, *name, *site, *site_name; /* NULL: the sequence has it */
    size_t pending;
    size_t length; /* of InternedData, 0: nothing */
} interned_t;

/* Mark what a row's packet uses as interned. */
interned_t intern_row(perfetto_rows_t *self, const row_t *row, const annotations_t *annotations);
/* The packet's InternedData; of something. */
uint8_t *put_interned(const perfetto_rows_t *self, uint8_t *to, const row_t *row, const interned_t *interned);

/* perfetto_input.c: take what perfetto_rows was handed; 0, or -1 with an exception set, and what was taken is the
   iterator's to give back. The columns and texts must be taken first, the sequences before the rows, args and
   flows before the marks. */
int perfetto_get_sequences(perfetto_rows_t *self, PyObject *sequences);
int perfetto_get_rows(perfetto_rows_t *self);
int perfetto_get_annotations(perfetto_rows_t *self, PyObject *args);
int perfetto_get_marks(perfetto_rows_t *self);

/* perfetto.c: encode from where the iterator stands until a packet may not fit before end, or none is left. *out is
   moved behind what was written. Needs no GIL. */
outcome_t perfetto_put(perfetto_rows_t *self, uint8_t **out, const uint8_t *end);

#endif
