/* What the recorder's files share: ticks, records, a thread's buffer, and the window they become; a span is in span.h.

   A record is 16 bytes, in the order in which the thread did things:

       u64 ticks  | u32 id      | u16 kind    | u16 0   begin, end, instant: id is a name of the open window
       u64 serial | u32 payload | u16 PAYLOAD | u16 0   behind a begin or instant with arguments: which span object it
                                                        was, and the place of its arguments among the buffer's
       u64 ticks  | u32 serial  | u16 END_SERIAL | u16 0   the end of a span whose begin this window has

   Spans without arguments are one span if their names are equal; those with arguments are told apart by the low half
   of their serial. */

#ifndef STEPSCOPE_RECORDER_H
#define STEPSCOPE_RECORDER_H

#include "native.h"

/* ---- clock.c ------------------------------------------------------------------------------------------------- */

typedef enum { TICKS_BOOTTIME, TICKS_TSC, TICKS_PYTHON } ticks_kind_t;

/* A reading of both clocks at one instant. */
typedef struct {
    uint64_t ticks, ns;
} tick_point_t;

/* How a window's ticks become ns: ns = at.ns + (ticks - at.ticks) * slope / 2**32. */
typedef struct {
    tick_point_t at;
    uint64_t slope; /* 0: ticks are ns */
} tick_scale_t;

extern ticks_kind_t ticks_kind;
uint64_t ticks_slow(void); /* any clock but the time-stamp counter */
tick_point_t ticks_point(void);
tick_scale_t ticks_scale(tick_point_t opened, tick_point_t sealed);

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAVE_TSC 1
#endif

static inline uint64_t ticks_now(void) {
#ifdef HAVE_TSC
    if (likely(ticks_kind == TICKS_TSC)) return __builtin_ia32_rdtsc();
#endif
    return ticks_slow();
}

static inline int64_t ticks_to_ns(const tick_scale_t *scale, uint64_t ticks) {
    if (scale->slope == 0) return (int64_t)ticks;
#ifdef HAVE_TSC
    int64_t apart = (int64_t)(ticks - scale->at.ticks);
    return (int64_t)scale->at.ns + (int64_t)(((__int128)apart * (int64_t)scale->slope) >> 32);
#else
    return (int64_t)ticks;
#endif
}

/* ---- ring.c -------------------------------------------------------------------------------------------------- */

enum { REC_BEGIN, REC_END, REC_INSTANT, REC_END_SERIAL, REC_BEGIN_ARGS, REC_END_ARGS, REC_INSTANT_ARGS, REC_PAYLOAD };

typedef struct {
    uint64_t ticks;
    uint32_t id;
    uint16_t kind, zero;
} record_t;

typedef struct chunk {
    struct chunk *next;
    uint32_t used; /* records; of the last chunk of a buffer its pos says */
    uint32_t bytes;
    record_t records[];
} chunk_t;

typedef struct span span_t;

/* A span that was open when a window opened, with its arguments then. */
typedef struct {
    span_t *span;
    PyObject *args; /* NULL: none */
} open_span_t;

/* The frozen arguments that a thread's records refer to; strong references. */
typedef struct {
    PyObject **args;
    uint32_t count, room;
} payloads_t;

/* One thread's part of a sealed window. */
typedef struct {
    unsigned long tid;
    PyObject *name;
    chunk_t *first;
    uint64_t dropped;
    payloads_t payloads;
    open_span_t *at_start;
    size_t at_start_count;
} sealed_thread_t;

/* What one thread records. Only its thread writes, with the GIL held. */
typedef struct buffer {
    record_t *pos, *end;
    chunk_t *first, *last;
    uint64_t dropped;
    payloads_t payloads;
    span_t **open;      /* the spans it has open, innermost last; strong references */
    size_t open_count, open_room;
    open_span_t *at_start; /* those of them that were open when the window opened */
    size_t at_start_count;
    PyObject *thread; /* threading.Thread */
    unsigned long tid;
    int ended; /* its thread has; set while sealing */
    struct buffer *next;
} buffer_t;

typedef enum { MODE_OFF, MODE_ARMED, MODE_RECORDING } mode_t_;

typedef struct {
    mode_t_ mode;
    uint32_t window;  /* number of the window that is open or was last: a span's id is good in one window */
    uint64_t epoch;   /* of the buffers: a thread whose own is older adopts a new one */
    PyObject *names;  /* list: id -> str, of the open window */
    size_t name_bytes;
    buffer_t *buffers; /* of the present epoch, the latest first */
} recorder_t;

extern recorder_t recorder;

typedef struct {
    buffer_t *buffer;
    uint64_t epoch;
} thread_slot_t;

/* The slot is a few bytes, so it fits where the C library keeps room for libraries loaded late. */
#ifdef __GLIBC__
#define TLS_MODEL __attribute__((tls_model("initial-exec")))
#else
#define TLS_MODEL
#endif
extern _Thread_local thread_slot_t thread_slot TLS_MODEL;

int recorder_has_room(size_t bytes);     /* whether the budget allows that many more */
int payloads_add(payloads_t *payloads, PyObject *args); /* takes over the reference; -1: no memory, dropped */
buffer_t *buffer_adopt(void);            /* NULL: no memory; nothing raised */
record_t *buffer_grow(buffer_t *buffer); /* room for two records, or NULL, counted as dropped */
void buffer_clear(buffer_t *buffer);     /* forget what the window holds; the open spans stay */
/* Note which spans the buffer's thread has open: 0, or -1 without memory. Runs no Python code: no thread records in
   between. */
int buffer_note_open(buffer_t *buffer);
/* Hand a buffer's records over to a part of a window, whose name is the thread itself until it is asked. */
void buffer_hand_over(buffer_t *buffer, sealed_thread_t *thread);
void sealed_thread_release(sealed_thread_t *thread);
void buffers_prune(void); /* drop the buffers of threads that have ended */
void buffers_reset(void); /* drop all buffers, and record nothing any more */

/* The calling thread's buffer. */
static inline buffer_t *buffer_mine(void) {
    thread_slot_t *slot = &thread_slot;
    return likely(slot->epoch == recorder.epoch) ? slot->buffer : buffer_adopt();
}

/* ---- window.c ------------------------------------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    tick_point_t opened, sealed;
    PyObject *names;
    sealed_thread_t *threads;
    size_t thread_count;
} window_t;

extern PyTypeObject Window_Type;

/* ---- parts --------------------------------------------------------------------------------------------------- */

int clock_add(PyObject *module);
int ring_add(PyObject *module);
int window_add(PyObject *module);
int span_add(PyObject *module);
int call_add(PyObject *module);
int decorated_add(PyObject *module);
int paired_add(PyObject *module);

#endif
