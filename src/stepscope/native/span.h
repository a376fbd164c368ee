/* The span: what it is made of, and the hot path that records its begin and its end.

   The hot path is here to be compiled into each of its callers: the span's own call (span.c), a decorated call
   (decorated.c) and instant (call.c). What happens seldom is in span.c, and is kept out of all three. */

#ifndef STEPSCOPE_SPAN_H
#define STEPSCOPE_SPAN_H

#include "recorder.h"

#include <math.h>
#include <string.h>

struct span {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *label;      /* a str, legal text: the name of a span of the program; or a Label */
    PyObject *args;       /* dict, or keywords; int: an operator's number; NULL: none, and it is the same span as
                             others of its label */
    PyObject *positional; /* the second argument, whose items come before those of args; or NULL */
    uint64_t serial;
    uint32_t id, registry; /* id is the label's in that registry */
    uint32_t entries;      /* how often it is open */
    int plain;             /* args can be recorded as they are */
    PyObject *leave;       /* its __exit__, borrowed from the cache of names (call.c); NULL: the span itself */
};

extern PyTypeObject Span_Type;

/* A span of that label; takes over the references to label, args and positional. */
span_t *span_new(PyObject *label, PyObject *args, PyObject *positional);

/* What span->leave may be: a built-in method, which the interpreter calls without asking how. NULL: no memory, or an
   interpreter that asks all the same; nothing is raised. */
PyObject *span_leave_new(span_t *span);

/* record_function(name, args=None, **kwargs); call.c. */
PyObject *record_function(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *names);

/* The span's arguments as a trace holds them now: a new reference; NULL if it has none, or no memory. */
PyObject *span_frozen_args(span_t *span);

/* Whether a text is recorded as it is; a name must not be empty either. */
static inline int text_is_plain(PyObject *text) {
    if (!PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text)) return 0;
    return memchr(PyUnicode_DATA(text), 0, (size_t)PyUnicode_GET_LENGTH(text)) == NULL;
}

/* Whether an argument's name is recorded as it is: one of the form of our own marks has to be renamed. */
static inline int key_is_plain(PyObject *key) { return text_is_plain(key) && *(const char *)PyUnicode_DATA(key) != 's'; }

/* Whether an argument's value would be frozen to itself. */
static inline int value_is_plain(PyObject *value) {
    if (PyUnicode_CheckExact(value)) return text_is_plain(value);
    if (PyBool_Check(value)) return 1;
    if (PyFloat_CheckExact(value)) return isfinite(PyFloat_AS_DOUBLE(value));
    if (!PyLong_CheckExact(value)) return 0;
    int overflow;
    (void)PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow == 0;
}

/* ---- keywords.c --------------------------------------------------------------------------------------------- */

/* A call's keywords, all plain and none a parameter's name; else NULL, without an exception unless memory ran out. */
PyObject *keywords_new(PyObject *names, PyObject *const *values);
PyObject *keywords_dict(PyObject *keywords); /* as the twin records them; NULL with an exception */

/* ---- what happens seldom ---------------------------------------------------------------------------------- */

/* Where the thread is cannot be said at a glance, or the list of open spans does not fit: all of span_begin, span_end. */
__attribute__((noinline)) void span_begin_slowly(span_t *span);
__attribute__((noinline)) void span_end_slowly(span_t *span);
/* There is more to record than the time, or no place for it: that part of span_begin, span_end. */
__attribute__((noinline)) void span_record_begin(buffer_t *buffer, span_t *span);
__attribute__((noinline)) void span_record_end(buffer_t *buffer, span_t *span);
/* Fill a record with the time of another clock than the time-stamp counter. */
__attribute__((noinline)) void record_fill_clock(buffer_t *buffer, record_t *record, uint32_t id, uint16_t kind);
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

static inline void record_fill(buffer_t *buffer, record_t *record, uint32_t id, uint16_t kind) {
#ifdef HAVE_TSC
    if (likely(ticks_kind == TICKS_TSC)) {
        record->id = id;
        record->kind = kind;
        record->ticks = __builtin_ia32_rdtsc();
        buffer->pos = record + 1;
        return;
    }
#endif
    record_fill_clock(buffer, record, id, kind);
}

/* Record an event of a span without arguments. */
static inline void record_put(buffer_t *buffer, span_t *span, uint16_t kind) {
    record_t *record = record_room(buffer, span);
    if (likely(record != NULL)) record_fill(buffer, record, span->id, kind);
}

/* ---- begin and end ---------------------------------------------------------------------------------------- */

/* Whether an event is nothing but a record of the span, for which there is a place. */
static inline int record_is_plain(const buffer_t *buffer, const span_t *span) {
    return !recorder.besides && span->args == NULL && span->registry == recorder.registry && buffer->pos < buffer->end;
}

static inline void span_begin(span_t *span) {
    buffer_t *buffer = thread_slot.buffer;
    if (unlikely(thread_slot.epoch != recorder.epoch || asks(buffer) || buffer->open.count == buffer->open.room)) {
        span_begin_slowly(span);
        return;
    }
    buffer->open.of[buffer->open.count++] = span;
    span->entries++;
    if (!recorder.recording) return;
    if (likely(record_is_plain(buffer, span)))
        record_fill(buffer, buffer->pos, span->id, REC_BEGIN);
    else
        span_record_begin(buffer, span);
}

static inline void span_end(span_t *span) {
    buffer_t *buffer = thread_slot.buffer;
    size_t count;
    if (unlikely(thread_slot.epoch != recorder.epoch || asks(buffer) || (count = buffer->open.count) == 0 ||
                 buffer->open.of[count - 1] != span)) {
        span_end_slowly(span);
        return;
    }
    buffer->open.count = count - 1;
    span->entries--;
    if (!recorder.recording) return;
    if (likely(record_is_plain(buffer, span)))
        record_fill(buffer, buffer->pos, span->id, REC_END);
    else
        span_record_end(buffer, span);
}

#endif
