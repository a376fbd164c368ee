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
    PyObject *label;      /* a str, legal text: the name of a span of the program; or a Label */
    PyObject *args;       /* dict; int: an operator's number; NULL: none, and it is the same span as others of its label */
    PyObject *positional; /* the second argument, whose items come before those of args; or NULL */
    uint64_t serial;
    uint32_t id, registry; /* id is the label's in that registry */
    uint32_t entries;      /* how often it is open */
    int plain;           /* args can be recorded as they are */
};

extern PyTypeObject Span_Type;

/* A span of that label; takes over the references to label, args and positional. */
span_t *span_new(PyObject *label, PyObject *args, PyObject *positional);

/* record_function(name, args=None, **kwargs); call.c. */
PyObject *record_function(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *names);

/* The span's arguments as a trace holds them now: a new reference; NULL if it has none, or no memory. */
PyObject *span_frozen_args(span_t *span);

/* Whether a text is recorded as it is; a name must not be empty either. */
static inline int text_is_plain(PyObject *text) {
    if (!PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text)) return 0;
    return memchr(PyUnicode_DATA(text), 0, (size_t)PyUnicode_GET_LENGTH(text)) == NULL;
}

/* ---- what happens seldom ---------------------------------------------------------------------------------- */

/* Give the span's label an id in the open window; -1 if there is no room: then the event is dropped. */
__attribute__((noinline)) int span_register(span_t *span);
/* Record an event of a span with arguments, which stand behind the record: as they are now. */
__attribute__((noinline)) void record_put_args(buffer_t *buffer, span_t *span, uint16_t kind);
/* Room for more open spans; -1: no memory. */
__attribute__((noinline)) int open_grow(open_t *open);
/* Forget all of a list. */
void open_clear(open_t *open);
/* Forget a span that is open and will never end: nobody holds it any more. */
void open_forget(span_t *span);
/* Forget a span that is not the innermost one where the thread is: it ends before one it contains, or in another task
   or on another thread than it began. The buffer of the thread that had it open; NULL: nobody. */
__attribute__((noinline)) buffer_t *open_take(buffer_t *mine, span_t *span);

/* ---- records ---------------------------------------------------------------------------------------------- */

/* Room for a record of the span and, behind it, one payload; NULL if dropped. */
static inline record_t *record_room(buffer_t *buffer, span_t *span) {
    if (unlikely(span->registry != recorder.registry) && span_register(span) < 0) {
        buffer->part.dropped++;
        return NULL;
    }
    record_t *record = buffer->pos; /* a new label may have taken the chunk */
    return unlikely(record >= buffer->end) ? buffer_grow(buffer) : record;
}

/* Say what was asked for besides the event's time, before its record; runs Python code for a stack that is new. */
typedef enum { EVENT_BEGINS, EVENT_ENDS, EVENT_MARKS } event_t;
__attribute__((noinline)) void record_besides(buffer_t *buffer, event_t event);
/* besides.c: a record that belongs to the next one. */
void record_before(buffer_t *buffer, record_t record);
/* stacks.c: the calls around the calling thread's next record. */
void record_stack(buffer_t *buffer);

/* Record an event of a span without arguments. */
static inline void record_put(buffer_t *buffer, span_t *span, uint16_t kind) {
    record_t *record = record_room(buffer, span);
    if (unlikely(record == NULL)) return;
    record->id = span->id;
    record->kind = kind;
    record->ticks = ticks_now();
    buffer->pos = record + 1;
}

/* The end of a span with arguments. */
static inline void record_end_args(buffer_t *buffer, span_t *span) {
    record_t *record = record_room(buffer, span);
    if (unlikely(record == NULL)) return;
    record->id = (uint32_t)span->serial;
    record->kind = REC_END_SERIAL;
    record->ticks = ticks_now();
    buffer->pos = record + 1;
}

/* ---- begin and end ---------------------------------------------------------------------------------------- */

static inline void span_begin(span_t *span) {
    buffer_t *buffer = buffer_mine();
    open_t *open = unlikely(buffer == NULL) ? NULL : unlikely(asks(buffer)) ? turn(&buffer, 0) : &buffer->open;
    /* Without memory to follow it, it is not recorded either: nobody would know that it ends. */
    if (unlikely(open == NULL) || (unlikely(open->count == open->room) && open_grow(open) < 0)) {
        recorder.lost++;
        return;
    }
    open->of[open->count++] = span;
    span->entries++;
    if (!recorder.recording) return;
    if (unlikely(recorder.besides)) {
        record_besides(buffer, EVENT_BEGINS);
        buffer = recorder.recording ? buffer_mine() : NULL; /* Python code may have run */
        if (buffer == NULL) return;
    }
    if (likely(span->args == NULL))
        record_put(buffer, span, REC_BEGIN);
    else
        record_put_args(buffer, span, REC_BEGIN_ARGS);
}

static inline void span_end(span_t *span) {
    buffer_t *buffer = buffer_mine();
    open_t *open = unlikely(buffer == NULL) ? NULL : unlikely(asks(buffer)) ? turn(&buffer, 1) : &buffer->open;
    if (unlikely(open == NULL)) return;
    size_t count = open->count;
    if (likely(count > 0 && open->of[count - 1] == span)) {
        open->count = count - 1;
        span->entries--;
    } else {
        buffer = open_take(buffer, span);
        if (buffer == NULL) return; /* it began before a fork, or without memory */
    }
    if (!recorder.recording) return;
    if (unlikely(recorder.besides)) record_besides(buffer, EVENT_ENDS);
    if (likely(span->args == NULL))
        record_put(buffer, span, REC_END);
    else
        record_end_args(buffer, span);
}

#endif
