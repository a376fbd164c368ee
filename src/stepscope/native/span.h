/* The span: what it is made of, and the hot path that records its begin and its end.

   The hot path is here to be compiled into each of its callers: the span's own call (span.c), a decorated call
   (decorated.c) and instant (call.c). What happens seldom is in span.c, and is kept out of all three. */

#ifndef STEPSCOPE_SPAN_H
#define STEPSCOPE_SPAN_H

#include "recorder.h"

#include <string.h>

struct span {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *name;       /* legal text */
    PyObject *args;       /* dict, or NULL: it has no arguments, and is the same span as others of its name */
    PyObject *positional; /* the second argument, whose items come before those of args; or NULL */
    uint64_t serial;
    uint32_t id, window; /* id is the name's in that window */
    uint32_t begun;      /* the window that has its arguments */
    int plain;           /* args can be recorded as they are */
};

extern PyTypeObject Span_Type;

/* A span of that name; takes over the references to name, args and positional. */
span_t *span_new(PyObject *name, PyObject *args, PyObject *positional);

/* The span's arguments as a trace holds them now: a new reference; NULL if it has none, or no memory. */
PyObject *span_frozen_args(span_t *span);

/* Whether a text is recorded as it is; a name must not be empty either. */
static inline int text_is_plain(PyObject *text) {
    if (!PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text)) return 0;
    return memchr(PyUnicode_DATA(text), 0, (size_t)PyUnicode_GET_LENGTH(text)) == NULL;
}

/* ---- what happens seldom ---------------------------------------------------------------------------------- */

/* Give the span's name an id in the open window; -1 if there is no room: then the event is dropped. */
__attribute__((noinline)) int span_register(span_t *span);
/* Record an event of a span with arguments, which stand behind the record: as they are now. */
__attribute__((noinline)) void record_put_args(buffer_t *buffer, span_t *span, uint16_t kind);
/* Room for more open spans; -1: no memory. */
__attribute__((noinline)) int open_grow(buffer_t *buffer);
/* Forget a span that ends before one it contains, as tasks that take turns on a thread do. */
__attribute__((noinline)) void open_remove_inner(buffer_t *buffer, span_t *span);

/* ---- records ---------------------------------------------------------------------------------------------- */

/* Room for a record of the span and, behind it, one payload; NULL if dropped. */
static inline record_t *record_room(buffer_t *buffer, span_t *span) {
    record_t *record = buffer->pos;
    if (unlikely(span->window != recorder.window) && span_register(span) < 0) {
        buffer->dropped++;
        return NULL;
    }
    return unlikely(record >= buffer->end) ? buffer_grow(buffer) : record;
}

/* Record an event of a span without arguments. */
static inline void record_put(buffer_t *buffer, span_t *span, uint16_t kind) {
    record_t *record = record_room(buffer, span);
    if (unlikely(record == NULL)) return;
    record->id = span->id;
    record->kind = kind;
    record->ticks = ticks_now();
    buffer->pos = record + 1;
}

/* The end of a span with arguments: the window has them, unless the span began before it. */
static inline void record_end_args(buffer_t *buffer, span_t *span) {
    if (unlikely(span->begun != recorder.window)) {
        record_put_args(buffer, span, REC_END_ARGS);
        return;
    }
    record_t *record = record_room(buffer, span);
    if (unlikely(record == NULL)) return;
    record->id = (uint32_t)span->serial;
    record->kind = REC_END_SERIAL;
    record->ticks = ticks_now();
    buffer->pos = record + 1;
}

/* ---- open spans ------------------------------------------------------------------------------------------- */

static inline void open_push(buffer_t *buffer, span_t *span) {
    /* Without memory the span is not known as open: it may be lost if it spans a whole window. */
    if (unlikely(buffer->open_count == buffer->open_room) && open_grow(buffer) < 0) return;
    buffer->open[buffer->open_count++] = (span_t *)Py_NewRef((PyObject *)span);
}

static inline void open_pop(buffer_t *buffer, span_t *span) {
    size_t count = buffer->open_count;
    if (likely(count > 0 && buffer->open[count - 1] == span)) {
        buffer->open_count = count - 1;
        Py_DECREF(span); /* the caller holds it too */
    } else {
        open_remove_inner(buffer, span);
    }
}

/* ---- begin and end ---------------------------------------------------------------------------------------- */

static inline void span_begin(span_t *span) {
    buffer_t *buffer = buffer_mine();
    if (unlikely(buffer == NULL)) return;
    open_push(buffer, span);
    if (recorder.mode != MODE_RECORDING) return;
    if (likely(span->args == NULL))
        record_put(buffer, span, REC_BEGIN);
    else
        record_put_args(buffer, span, REC_BEGIN_ARGS);
}

static inline void span_end(span_t *span) {
    buffer_t *buffer = buffer_mine();
    if (unlikely(buffer == NULL)) return;
    if (recorder.mode == MODE_RECORDING) {
        if (likely(span->args == NULL))
            record_put(buffer, span, REC_END);
        else
            record_end_args(buffer, span);
    }
    open_pop(buffer, span);
}

#endif
