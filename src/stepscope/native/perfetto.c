/* The rows of a .pftrace file: TrackEvents of one sequence a track; the twin of twin/perfetto.py.

       TracePacket       0a len | 40 timestamp delta | 50 sequence | 68 02 | 5a len TrackEvent | 62 len InternedData
       TrackEvent begin  48 01 | 18 category iid | 50 name iid | 22 len DebugAnnotation ...
       TrackEvent end    48 02
       TrackEvent point  48 03 | as begin
       InternedData      table len | 08 iid | 12 len text

   An end needs no sequence flags. Rows are encoded track by track: one pass sorts their numbers by track, a second
   walks each track with the stack of its open slices. The second stops wherever the next packet may not fit, and goes
   on there for the next chunk. It runs without the GIL, straight into the bytes object that is handed out. */

#include "native.h"

#include <string.h>

enum { BEGIN = 1, END = 2, POINT = 3 };
enum { CATEGORIES = 1, NAMES = 2, ANNOTATION_NAMES = 3, TABLES = 4 }; /* fields of InternedData */
/* What any packet takes beside its texts and annotations, and what an entry of InternedData takes beside its text. */
enum { PACKET_SLACK = 128, ENTRY_SLACK = 32 };

/* {"stepscope:cut": true}, with its name inline. */
static const char CUT_MARK[] = "\x22\x11\x52\x0dstepscope:cut\x10\x01";
enum { CUT_MARK_LENGTH = sizeof CUT_MARK - 1 };

static PyTypeObject *rows_type;

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

typedef enum { WRITTEN, FULL, NO_MEMORY, INVALID, BEFORE_START, BACKWARDS, NEGATIVE, OVERLAPS } outcome_t;

/* The iterator: what it encodes from, and how far it has come. */
typedef struct {
    PyObject_HEAD
    columns_t columns;
    texts_t texts, annotation_names;
    row_objects_t args;
    annotations_t *annotations; /* by place in args */
    uint32_t *used;             /* annotation names, row after row */
    size_t *pending;            /* texts that the packet at hand interns */
    PyObject *kept;             /* the sequences */
    sequence_t *sequences;
    size_t tracks;
    uint32_t *rows;         /* row numbers, track after track; NULL: there is one track, and they count from 0 */
    uint32_t *seen[TABLES]; /* by id: 1 + the track whose sequence has interned it last */
    open_slices_t open;
    size_t track, at;   /* the next row is rows[at] */
    int opened;         /* the track's preamble is written */
    int64_t before;     /* ts of the row before, or where the sequence's clock starts */
    uint64_t last;      /* time of the packet before, modulo 2**64 */
    size_t needed;      /* bytes for the next packet, if it is larger than a chunk */
    int busy, finished; /* a thread is encoding without the GIL; all is written, or an error was raised */
} rows_t;

/* ---- the wire ---- */

static inline uint8_t *put_varint(uint8_t *to, uint64_t value) {
    while (value >= 0x80) {
        *to++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *to++ = (uint8_t)value;
    return to;
}

/* The same for a number whose length is hard to foretell: up to four bytes are written at once. */
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

static size_t varint_length(uint64_t value) {
    size_t length = 1;
    for (; value >= 0x80; value >>= 7)
        length++;
    return length;
}

static uint8_t *put_bytes(uint8_t *to, const void *from, size_t length) {
    memcpy(to, from, length);
    return to + length;
}

/* The length of an entry of InternedData, without its own field's tag and length. */
static size_t entry_length(size_t iid, size_t text_length) {
    return 1 + varint_length(iid) + 1 + varint_length(text_length) + text_length;
}

static uint8_t *put_entry(uint8_t *to, int table, size_t iid, const text_t *text) {
    *to++ = (uint8_t)(table << 3 | 2);
    to = put_varint(to, entry_length(iid, text->length));
    *to++ = 0x08;
    to = put_varint(to, iid);
    *to++ = 0x12;
    to = put_varint(to, text->length);
    return put_bytes(to, text->at, text->length);
}

/* ---- packets ---- */

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

/* A begin or a point without annotations whose texts are interned: all its lengths are one byte. */
static inline uint8_t *put_plain(uint8_t *to, const sequence_t *sequence, uint64_t delta, int type, uint32_t cat,
                                 uint32_t name) {
    uint8_t *body = to + 2;
    to[0] = 0x0a;
    to[2] = 0x40;
    to = put_delta(to + 3, delta);
    memcpy(to, sequence->begin, sizeof sequence->begin);
    to += sequence->begin_length;
    uint8_t *event = to + 1;
    event[0] = 0x48;
    event[1] = (uint8_t)type;
    event[2] = 0x18;
    to = put_varint(event + 3, cat);
    *to++ = 0x50;
    to = put_varint(to, name);
    event[-1] = (uint8_t)(to - event);
    body[-1] = (uint8_t)(to - body);
    return to;
}

/* Bytes that are enough for a row's packet, whatever it has to intern. */
static size_t packet_room(const rows_t *self, uint32_t cat, uint32_t name, const annotations_t *annotations) {
    size_t room = PACKET_SLACK + CUT_MARK_LENGTH + self->texts.of[cat].length + self->texts.of[name].length;
    if (annotations) {
        room += annotations->length;
        for (size_t i = 0; i < annotations->count; i++)
            room += ENTRY_SLACK + self->annotation_names.of[self->used[annotations->first + i]].length;
    }
    return room;
}

/* Mark an id as interned on this sequence; returns whether it was not. */
static int intern(rows_t *self, int table, uint32_t iid) {
    uint32_t now = (uint32_t)self->track + 1;
    if (likely(self->seen[table][iid] == now))
        return 0;
    self->seen[table][iid] = now;
    return 1;
}

/* A begin or a point of any form; packet_room says how much room it needs. */
static uint8_t *put_event(rows_t *self, uint8_t *to, uint64_t delta, int kind, uint32_t cat, uint32_t name,
                          const annotations_t *annotations) {
    const sequence_t *sequence = &self->sequences[self->track];
    const text_t *category = intern(self, CATEGORIES, cat) ? &self->texts.of[cat] : NULL;
    const text_t *label = intern(self, NAMES, name) ? &self->texts.of[name] : NULL;
    size_t pending = 0, interned = 0;
    if (category) {
        size_t length = entry_length(cat, category->length);
        interned += 1 + varint_length(length) + length;
    }
    if (label) {
        size_t length = entry_length(name, label->length);
        interned += 1 + varint_length(length) + length;
    }
    for (size_t i = 0; annotations && i < annotations->count; i++) {
        uint32_t iid = self->used[annotations->first + i];
        if (intern(self, ANNOTATION_NAMES, iid)) {
            size_t length = entry_length(iid, self->annotation_names.of[iid].length);
            interned += 1 + varint_length(length) + length;
            self->pending[pending++] = iid;
        }
    }
    size_t cut = kind & ROW_CUT ? CUT_MARK_LENGTH : 0, encoded = annotations ? annotations->length : 0;
    size_t event = 4 + varint_length(cat) + varint_length(name) + encoded + cut;
    size_t packet = 1 + varint_length(delta) + sequence->begin_length + varint_length(event) + event;
    if (interned)
        packet += 1 + varint_length(interned) + interned;

    *to++ = 0x0a;
    to = put_varint(to, packet);
    *to++ = 0x40;
    to = put_varint(to, delta);
    to = put_bytes(to, sequence->begin, sequence->begin_length);
    to = put_varint(to, event);
    *to++ = 0x48;
    *to++ = kind & ROW_INSTANT ? POINT : BEGIN;
    *to++ = 0x18;
    to = put_varint(to, cat);
    *to++ = 0x50;
    to = put_varint(to, name);
    if (encoded)
        to = put_bytes(to, annotations->encoded, encoded);
    to = put_bytes(to, CUT_MARK, cut);
    if (!interned)
        return to;
    *to++ = 0x62;
    to = put_varint(to, interned);
    if (category)
        to = put_entry(to, CATEGORIES, cat, category);
    if (label)
        to = put_entry(to, NAMES, name, label);
    for (size_t i = 0; i < pending; i++)
        to = put_entry(to, ANNOTATION_NAMES, self->pending[i], &self->annotation_names.of[self->pending[i]]);
    return to;
}

/* ---- rows ---- */

/* The end of a slice, modulo 2**64. */
static inline uint64_t end_of(const open_slice_t *slice) {
    return (uint64_t)slice->start + (uint64_t)slice->dur;
}

/* Encode rows of the track until a packet may not fit before end, or none is left. What the loop needs is kept in
   locals: bytes may be written over anything, as far as a compiler knows. */
static outcome_t put_rows(rows_t *self, uint8_t **out, const uint8_t *end) {
    const columns_t columns = self->columns;
    const sequence_t sequence = self->sequences[self->track];
    const uint32_t *rows = self->rows, *args = self->args.of, texts = (uint32_t)self->texts.count;
    const uint32_t *seen_names = self->seen[NAMES], *seen_categories = self->seen[CATEGORIES];
    const uint32_t now = (uint32_t)self->track + 1;
    open_slice_t *slices = self->open.slices;
    size_t at = self->at, depth = self->open.depth;
    uint64_t last = self->last;
    int64_t before = self->before;
    uint8_t *to = *out;
    outcome_t outcome = WRITTEN;
    for (; at < sequence.rows_end; at++) {
        uint32_t row = rows ? rows[at] : (uint32_t)at, cat = columns.cat[row], name = columns.name[row];
        int64_t ts = columns.ts[row], dur = columns.dur[row];
        int kind = columns.kind[row];
        /* They were valid at the start; the columns are only held against being resized. */
        if (unlikely(cat >= texts || name >= texts || dur < 0)) {
            outcome = dur < 0 ? NEGATIVE : INVALID;
            break;
        }
        if (unlikely(ts < before)) {
            outcome = ts < sequence.start_ns ? BEFORE_START : BACKWARDS;
            break;
        }
        while (depth && end - to >= PACKET_SLACK && has_ended(&slices[depth - 1], ts, dur)) {
            uint64_t ended = end_of(&slices[--depth]);
            to = put_end(to, &sequence, ended - last);
            last = ended;
        }
        if (unlikely(end - to < PACKET_SLACK)) {
            self->needed = PACKET_SLACK;
            outcome = FULL;
            break;
        }
        /* Time only goes on where slices nest. */
        if (depth && !(kind & ROW_INSTANT) &&
            unlikely((uint64_t)dur > (uint64_t)slices[depth - 1].dur - since(slices[depth - 1].start, ts))) {
            outcome = OVERLAPS;
            break;
        }
        uint32_t place = args ? args[row] : 0;
        uint64_t delta = (uint64_t)ts - last;
        if (likely(!place && !(kind & ROW_CUT) && seen_names[name] == now && seen_categories[cat] == now)) {
            to = put_plain(to, &sequence, delta, kind & ROW_INSTANT ? POINT : BEGIN, cat, name);
        } else {
            const annotations_t *annotations = place ? &self->annotations[place - 1] : NULL;
            size_t needed = packet_room(self, cat, name, annotations);
            if ((size_t)(end - to) < needed) {
                self->needed = needed;
                outcome = FULL;
                break;
            }
            to = put_event(self, to, delta, kind, cat, name, annotations);
        }
        last = (uint64_t)ts;
        before = ts;
        if (kind & ROW_INSTANT)
            continue;
        if (unlikely(depth == self->open.room)) {
            if (open_slices_grow(&self->open) < 0) {
                outcome = NO_MEMORY;
                break;
            }
            slices = self->open.slices;
        }
        slices[depth++] = (open_slice_t){ts, dur, row};
    }
    self->at = at;
    self->open.depth = depth;
    self->last = last;
    self->before = before;
    *out = to;
    return outcome;
}

/* End the slices that are open where the track's rows end. */
static outcome_t put_last_ends(rows_t *self, uint8_t **out, const uint8_t *end) {
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

/* Encode tracks until a packet may not fit before end, or none is left. Needs no GIL. */
static outcome_t put_tracks(rows_t *self, uint8_t **out, const uint8_t *end) {
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

static void set_error(const rows_t *self, outcome_t outcome) {
    if (outcome == NO_MEMORY) {
        PyErr_NoMemory();
        return;
    }
    uint32_t row = self->rows ? self->rows[self->at] : (uint32_t)self->at;
    switch (outcome) {
    case INVALID:
        PyErr_Format(PyExc_ValueError, "row %u: its ids were changed while it was to be encoded", row);
        break;
    case BEFORE_START:
        PyErr_Format(PyExc_ValueError, "row %u begins before the clock of sequences[%zu] starts, start_ns %lld", row,
                     self->track, (long long)self->sequences[self->track].start_ns);
        break;
    case BACKWARDS:
        PyErr_Format(PyExc_ValueError, "row %u begins before the row before it on track %zu: rows must be settled", row,
                     self->track);
        break;
    case NEGATIVE:
        PyErr_Format(PyExc_ValueError, "row %u: columns.dur is negative", row);
        break;
    default:
        PyErr_Format(PyExc_ValueError, "row %u ends after the slice it begins in, on track %zu: rows must be settled",
                     row, self->track);
    }
}

static PyObject *rows_next(PyObject *object) {
    rows_t *self = (rows_t *)object;
    PyObject *chunk = NULL;
    Py_ssize_t length = 0;
    if (self->busy)
        return PyErr_Format(PyExc_ValueError, "perfetto_rows: another thread is in the middle of a chunk");
    /* A packet that is larger than a chunk leaves the first one empty. */
    while (!self->finished && !length) {
        Py_ssize_t size = self->needed > CHUNK_BYTES ? (Py_ssize_t)self->needed : CHUNK_BYTES;
        outcome_t outcome;
        Py_XDECREF(chunk);
        chunk = PyBytes_FromStringAndSize(NULL, size);
        if (!chunk)
            goto failed;
        uint8_t *start = (uint8_t *)PyBytes_AS_STRING(chunk), *to = start;
        self->needed = 0;
        self->busy = 1;
        Py_BEGIN_ALLOW_THREADS
        outcome = put_tracks(self, &to, start + size);
        Py_END_ALLOW_THREADS
        self->busy = 0;
        length = to - start;
        if (outcome != WRITTEN && outcome != FULL) {
            set_error(self, outcome);
            goto failed;
        }
    }
    if (!length)
        Py_CLEAR(chunk);
    else if (_PyBytes_Resize(&chunk, length) < 0)
        goto failed;
    return chunk;

failed:
    self->finished = 1;
    Py_XDECREF(chunk);
    return NULL;
}

/* ---- the iterator ---- */

static int rows_traverse(PyObject *object, visitproc visit, void *arg) {
    rows_t *self = (rows_t *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->kept);
    int status = columns_visit(&self->columns, visit, arg);
    return status ? status : row_objects_visit(&self->args, visit, arg);
}

static int rows_clear(PyObject *object) {
    rows_t *self = (rows_t *)object;
    self->finished = 1;
    columns_release(&self->columns);
    row_objects_release(&self->args);
    Py_CLEAR(self->kept);
    return 0;
}

static void rows_dealloc(PyObject *object) {
    rows_t *self = (rows_t *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    rows_clear(object);
    texts_release(&self->texts);
    texts_release(&self->annotation_names);
    PyMem_Free(self->annotations);
    PyMem_Free(self->used);
    PyMem_Free(self->pending);
    PyMem_Free(self->sequences);
    PyMem_Free(self->rows);
    for (int table = 0; table < TABLES; table++)
        PyMem_Free(self->seen[table]);
    PyMem_RawFree(self->open.slices);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyType_Slot SLOTS[] = {
    {Py_tp_doc, "Rows of a Perfetto protobuf file, about 1 MiB of whole packets at a time."},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, rows_next},
    {Py_tp_traverse, rows_traverse},
    {Py_tp_clear, rows_clear},
    {Py_tp_dealloc, rows_dealloc},
    {0, NULL},
};

static PyType_Spec SPEC = {
    .name = "stepscope._native.PerfettoRows",
    .basicsize = sizeof(rows_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = SLOTS,
};

/* ---- what it is handed ---- */

/* Read a TrackSequence; 0, or -1 with an exception set. */
static int get_sequence(PyObject *tuple, Py_ssize_t track, sequence_t *sequence) {
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != 3 || !PyLong_Check(PyTuple_GET_ITEM(tuple, 0)) ||
        !PyLong_Check(PyTuple_GET_ITEM(tuple, 1)) || !PyBytes_Check(PyTuple_GET_ITEM(tuple, 2))) {
        PyErr_Format(PyExc_TypeError, "sequences[%zd]: must be a TrackSequence of (int, int, bytes), not %R", track,
                     tuple);
        return -1;
    }
    int overflow, start_overflow;
    long long number = PyLong_AsLongLongAndOverflow(PyTuple_GET_ITEM(tuple, 0), &overflow);
    long long start = PyLong_AsLongLongAndOverflow(PyTuple_GET_ITEM(tuple, 1), &start_overflow);
    if (overflow || number < 0 || start_overflow) {
        PyErr_Format(PyExc_ValueError,
                     "sequences[%zd]: number must not be negative, nor number or start_ns past 2**63: %R", track,
                     tuple);
        return -1;
    }
    uint8_t *to = sequence->begin;
    *to++ = 0x50;
    to = put_varint(to, (uint64_t)number);
    size_t length = (size_t)(to - sequence->begin);
    memcpy(sequence->end, sequence->begin, length);
    memcpy(sequence->begin + length, "\x68\x02\x5a", 3);
    memcpy(sequence->end + length, "\x5a\x02\x48\x02", 4);
    sequence->begin_length = length + 3;
    sequence->end_length = length + 4;
    sequence->start_ns = start;
    sequence->preamble = PyBytes_AS_STRING(PyTuple_GET_ITEM(tuple, 2));
    sequence->preamble_length = (size_t)PyBytes_GET_SIZE(PyTuple_GET_ITEM(tuple, 2));
    return 0;
}

static int get_sequences(rows_t *self, PyObject *sequences) {
    self->kept = PySequence_Tuple(sequences);
    if (!self->kept)
        return -1;
    Py_ssize_t tracks = PyTuple_GET_SIZE(self->kept);
    self->sequences = PyMem_Calloc(tracks ? (size_t)tracks : 1, sizeof *self->sequences);
    if (!self->sequences) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t track = 0; track < tracks; track++)
        if (get_sequence(PyTuple_GET_ITEM(self->kept, track), track, &self->sequences[track]) < 0)
            return -1;
    self->tracks = (size_t)tracks;
    return 0;
}

/* 0, or -1 with an exception set: an object of args is not Annotations of (bytes, tuple). Adds up the names. */
static int check_annotations(const row_objects_t *args, size_t *names, size_t *most) {
    *names = *most = 0;
    for (Py_ssize_t i = 0; i < args->count; i++) {
        PyObject *tuple = args->objects[i];
        if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != 2 || !PyBytes_Check(PyTuple_GET_ITEM(tuple, 0)) ||
            !PyTuple_Check(PyTuple_GET_ITEM(tuple, 1))) {
            PyErr_Format(PyExc_TypeError, "args: values must be Annotations of (bytes, tuple), not %R", tuple);
            return -1;
        }
        size_t count = (size_t)PyTuple_GET_SIZE(PyTuple_GET_ITEM(tuple, 1));
        *names += count;
        *most = count > *most ? count : *most;
    }
    return 0;
}

/* Read an annotation name's id; 0, or -1 with an exception set. */
static int get_name(const rows_t *self, PyObject *object, uint32_t *id) {
    int overflow = 0;
    long long value = PyLong_Check(object) ? PyLong_AsLongLongAndOverflow(object, &overflow) : -1;
    if (overflow || value < 0 || value >= self->annotation_names.count) {
        PyErr_Format(PyExc_ValueError, "args: %R is no annotation name, there are %zd", object,
                     self->annotation_names.count);
        return -1;
    }
    *id = (uint32_t)value;
    return 0;
}

static int get_annotations(rows_t *self) {
    size_t names, most, used = 0;
    if (check_annotations(&self->args, &names, &most) < 0)
        return -1;
    self->annotations = PyMem_New(annotations_t, self->args.count);
    self->used = PyMem_New(uint32_t, names);
    self->pending = PyMem_New(size_t, most);
    if (!self->annotations || !self->used || !self->pending) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < self->args.count; i++) {
        PyObject *tuple = self->args.objects[i];
        PyObject *encoded = PyTuple_GET_ITEM(tuple, 0), *ids = PyTuple_GET_ITEM(tuple, 1);
        size_t count = (size_t)PyTuple_GET_SIZE(ids);
        self->annotations[i] =
            (annotations_t){PyBytes_AS_STRING(encoded), (size_t)PyBytes_GET_SIZE(encoded), used, count};
        for (size_t n = 0; n < count; n++)
            if (get_name(self, PyTuple_GET_ITEM(ids, (Py_ssize_t)n), &self->used[used++]) < 0)
                return -1;
    }
    return 0;
}

/* Sort the row numbers by track: count, sum up, place; 0, or -1 where a track was changed meanwhile. Needs no GIL. */
static int sort_by_track(rows_t *self) {
    const uint32_t *track = self->columns.track;
    size_t rows = (size_t)self->columns.rows, before = 0;
    for (size_t row = 0; row < rows; row++) {
        if (unlikely(track[row] >= self->tracks))
            return -1;
        self->sequences[track[row]].rows_end++;
    }
    for (size_t i = 0; i < self->tracks; i++) {
        size_t count = self->sequences[i].rows_end;
        self->sequences[i].rows_end = before;
        before += count;
    }
    /* Each rows_end now is where its track starts, and moves to its end as the rows are placed. */
    for (size_t row = 0; row < rows; row++) {
        uint32_t of = track[row];
        if (unlikely(of >= self->tracks || self->sequences[of].rows_end >= rows))
            return -1;
        self->rows[self->sequences[of].rows_end++] = (uint32_t)row;
    }
    return 0;
}

static int get_rows(rows_t *self) {
    int status;
    if (columns_ids_below(&self->columns, self->columns.track, "track", (Py_ssize_t)self->tracks) < 0)
        return -1;
    if (self->tracks == 1) {
        self->sequences[0].rows_end = (size_t)self->columns.rows;
        return 0;
    }
    self->rows = PyMem_Calloc(self->columns.rows ? (size_t)self->columns.rows : 1, sizeof *self->rows);
    if (!self->rows) {
        PyErr_NoMemory();
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS
    status = sort_by_track(self);
    Py_END_ALLOW_THREADS
    if (status < 0)
        PyErr_SetString(PyExc_ValueError, "columns.track was changed while it was read");
    return status;
}

/* Make the tables of what each sequence has interned. */
static int make_seen(rows_t *self) {
    size_t texts = (size_t)self->texts.count, names = (size_t)self->annotation_names.count;
    self->seen[CATEGORIES] = PyMem_Calloc(texts ? texts : 1, sizeof(uint32_t));
    self->seen[NAMES] = PyMem_Calloc(texts ? texts : 1, sizeof(uint32_t));
    self->seen[ANNOTATION_NAMES] = PyMem_Calloc(names ? names : 1, sizeof(uint32_t));
    if (self->seen[CATEGORIES] && self->seen[NAMES] && self->seen[ANNOTATION_NAMES])
        return 0;
    PyErr_NoMemory();
    return -1;
}

PyDoc_STRVAR(perfetto_rows_doc, "perfetto_rows(columns, texts, sequences, args, annotation_names)\n--\n\n"
                                "Encode rows, one track after the other: an iterator of bytes, whole packets each.");

static PyObject *perfetto_rows(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"columns", "texts", "sequences", "args", "annotation_names", NULL};
    PyObject *columns, *texts, *sequences, *row_args, *annotation_names;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOO:perfetto_rows", names, &columns, &texts, &sequences,
                                     &row_args, &annotation_names))
        return NULL;
    rows_t *self = (rows_t *)rows_type->tp_alloc(rows_type, 0);
    if (!self)
        return NULL;
    /* Nobody is to find it before it is complete. */
    PyObject_GC_UnTrack(self);
    if (columns_get(columns, &self->columns, 0) < 0 || texts_get(texts, "texts", "", "", &self->texts) < 0 ||
        texts_get(annotation_names, "annotation_names", "", "", &self->annotation_names) < 0 ||
        columns_ids_below(&self->columns, self->columns.name, "name", self->texts.count) < 0 ||
        columns_ids_below(&self->columns, self->columns.cat, "cat", self->texts.count) < 0 ||
        get_sequences(self, sequences) < 0 || get_rows(self) < 0 || make_seen(self) < 0 ||
        row_objects_get(row_args, "args", self->columns.rows, &self->args) < 0 || get_annotations(self) < 0)
        Py_CLEAR(self);
    else
        PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyMethodDef METHODS[] = {
    {"perfetto_rows", (PyCFunction)(void (*)(void))perfetto_rows, METH_VARARGS | METH_KEYWORDS, perfetto_rows_doc},
    {NULL, NULL, 0, NULL},
};

int perfetto_add(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &SPEC, NULL);
    if (!type)
        return -1;
    Py_XSETREF(rows_type, (PyTypeObject *)type);
    return PyModule_AddFunctions(module, METHODS);
}
