/* What the recorder's files share: ticks, records, a thread's buffer, and the window they become; a span is in span.h.

   A record is 16 bytes, in the order in which the thread did things:

       u64 ticks  | u32 id      | u16 kind       | u16 0   begin, end, instant: id is a label of the open window
       u64 ticks  | u32 id      | u16 CALL       | u16 0   begin of a traced call; RETURN: its end. They stand on the
                                                           thread's own track, whichever task's turn it is
       u64 ticks  | u32 serial  | u16 END_SERIAL | u16 0   the end of a span with arguments
       u64 ticks  | u32 lane    | u16 TURN       | u16 0   what follows is of another task, or of none: 0

       u64 CPU ns | u32 thread  | u16 CPU        | u16 0   what the thread that makes the next record has computed
       u64 0      | u32 label   | u16 STACK      | u16 0   the calls around the next record

   and behind a begin, instant or end (END_ARGS, whose id is a serial) with arguments, a counter and a flow's point
   stands what they carry:

       u64 serial | u32 payload | u16 PAYLOAD    | u16 0   which span object it was; its arguments' place in the buffer
       f64 value  | u32 0       | u16 PAYLOAD    | u16 0   the counter's value; the record's id is a series of the window
       u64 number | u32 named   | u16 PAYLOAD    | u16 0   which flow; whether the record's id is its name

   A label is a str, the name of a span of the program, or a Label (core/rows.py), which says category and site, too.
   Spans without arguments are one span if their labels are equal; those with arguments are told apart by the low half
   of their serial. */

#ifndef STEPSCOPE_RECORDER_H
#define STEPSCOPE_RECORDER_H

#include "native.h"

#include <time.h>

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
uint64_t thread_ns(void);  /* what the calling thread has computed; the stand-in for ticks, where there is one */
uint64_t ticks_stand_in(void); /* what the Python callable says */
tick_point_t ticks_point(void);
tick_scale_t ticks_scale(tick_point_t opened, tick_point_t sealed);

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAVE_TSC 1
#endif

/* clock_gettime, or where the kernel has put its own into the process, that: the C library's call around it is what a
   thirtieth of a span takes. */
extern int (*read_clock)(clockid_t clock, struct timespec *now);

/* The system's clock since its boot, in ns. */
static inline uint64_t system_ns(void) {
    struct timespec now;
#ifdef CLOCK_BOOTTIME
    read_clock(CLOCK_BOOTTIME, &now);
#else
    read_clock(CLOCK_MONOTONIC, &now);
#endif
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t ticks_now(void) {
#ifdef HAVE_TSC
    if (likely(ticks_kind == TICKS_TSC)) return __builtin_ia32_rdtsc();
#endif
    return likely(ticks_kind == TICKS_BOOTTIME) ? system_ns() : ticks_stand_in();
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

enum { REC_BEGIN, REC_END, REC_CALL, REC_RETURN, REC_INSTANT, REC_END_SERIAL, REC_TURN, REC_CPU, REC_STACK, REC_BEGIN_ARGS, REC_INSTANT_ARGS,
       REC_END_ARGS, REC_COUNTER, REC_FLOW, REC_PAYLOAD };

typedef struct {
    uint64_t ticks;
    uint32_t id;
    uint16_t kind, zero;
} record_t;

static inline int record_length(const record_t *record) { return record->kind < REC_BEGIN_ARGS ? 1 : 2; }

typedef struct chunk {
    struct chunk *next;
    uint32_t used; /* records; of the last chunk of a buffer its pos says */
    uint32_t bytes;
    record_t records[];
} chunk_t;

typedef struct span span_t;

/* Spans that are open, innermost last; borrowed: each knows how often it is in such lists. */
typedef struct {
    span_t **of;
    size_t count, room;
} open_t;

/* One task on the thread whose buffer has it. */
typedef struct {
    PyObject_HEAD
    PyObject *task; /* a weak reference: nothing here keeps a task alive */
    PyObject *name; /* what it was called when its thread last came to it */
    PyObject *said; /* the same as the task said it, which is one object until the name is another; or NULL */
    uint32_t id, registry; /* id is the lane's in that registry */
    open_t open;
} lane_t;

/* The frozen arguments that a thread's records refer to; strong references. */
typedef struct {
    PyObject **args; /* a free place holds the next one: 2 * place + 1 */
    uint32_t count, room;
    uint32_t free; /* 1 + the first free place; 0: none */
} payloads_t;

enum { NO_PAYLOAD = UINT32_MAX };

/* A span that began before the first record there is: its begin, with its payload. */
typedef struct {
    record_t record[2];
    uint32_t lane; /* 0: none */
    int cut;       /* it began before the window, at whose edge it is cut */
} begun_t;

typedef struct {
    begun_t *of; /* outermost first */
    uint32_t count, room;
} begun_list_t;

/* What a thread has in a window. */
typedef struct {
    chunk_t *first, *last;
    uint32_t chunks;
    uint32_t gone; /* records of the first chunk that have made room */
    uint64_t dropped; /* records */
    int full;         /* there was no chunk for a record: with policy "stop" none follows */
    payloads_t payloads;
    begun_list_t begun;
    uint32_t lane, next_lane; /* whose the first of its records are, and the next one; 0: no task's */
} part_t;

/* Whether a thread has ended: its thread state says so as it goes. */
typedef struct {
    int ended, holders;
} life_t;

static inline const record_t *chunk_records(const part_t *part, const chunk_t *chunk) {
    return chunk->records + (chunk == part->first ? part->gone : 0);
}

/* What one thread records. Written with the GIL held: by its thread, and by the one that ends a span of it. */
typedef struct buffer {
    record_t *pos, *end;
    part_t part;
    open_t open;         /* the spans it has open in no task */
    PyObject *lanes;     /* dict: id of a task -> its lane_t; NULL: the thread was in no task yet */
    Py_ssize_t many_lanes;
    lane_t *lane;        /* of the task that its last event was in; NULL: none */
    lane_t *entered;     /* of the task that enter_task has named */
    int asks;            /* whether its next event has to ask where it is, even if no loop is in a task */
    PyObject *thread; /* threading.Thread; NULL: the module does not know the thread */
    int thread_asks;     /* how often the module is asked once more: a thread's first calls come before it knows it */
    unsigned long tid;
    life_t *life;
    struct buffer *next;
    uint32_t calls_window; /* the last window in which calls of the thread were traced */
    uint32_t profiled_window; /* the last one in which it came by threading's profile function */
    int32_t call_depth;    /* how many traced calls it is in; followed if there is a limit */
    int muted;             /* its calls are never traced */
} buffer_t;

/* Ids of what records name by them. */
typedef struct {
    PyObject *ids; /* dict: key -> id */
    uint32_t next;
} registry_t;

enum { BESIDES_CPU = 1, BESIDES_STACK = 2 };

typedef struct {
    int recording;
    int besides;        /* what events say besides their time: BESIDES_ bits; 0 while nothing is recorded */
    uint32_t window;    /* number of the window that is open or was last */
    uint32_t registry;  /* in which an id is good: a window's, until labels give way in it */
    uint64_t epoch;     /* of the buffers: a thread whose own is older adopts a new one */
    registry_t labels;  /* label -> id, of the open window */
    registry_t series;  /* (counter's name, unit) -> id, of the open window */
    registry_t lanes;   /* lane -> id from 1 on, of the open window */
    size_t text_bytes;  /* what labels and series take */
    size_t sealed_text_bytes; /* what those of sealed windows take */
    buffer_t *buffers;  /* of the present epoch, the latest first */
    uint64_t lost;      /* spans and threads there was no memory to follow, since the last window */
    uint64_t unsure;    /* ends in the open window that may have been another's of the same span */
    uint64_t interrupts; /* how often one came while the program's values were read */
    PyObject *running;  /* dict: loop -> task, of the loops that are in a step of one; asyncio's, or empty */
    int walkers;        /* who goes through the buffers while Python code may run: none is dropped */
} recorder_t;

extern recorder_t recorder;

/* About what texts take. */
static inline size_t text_bytes(PyObject *text) { return (size_t)PyUnicode_GET_LENGTH(text) * PyUnicode_KIND(text); }
static inline size_t label_bytes(PyObject *label) {
    if (PyUnicode_Check(label)) return 128 + text_bytes(label);
    size_t bytes = 256;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(label); i++) bytes += text_bytes(PyTuple_GET_ITEM(label, i));
    return bytes;
}
static inline size_t series_bytes(PyObject *series) {
    return 256 + text_bytes(PyTuple_GET_ITEM(series, 0)) + text_bytes(PyTuple_GET_ITEM(series, 1));
}

enum { LANE_BYTES = 512 }; /* about what a lane takes */

int recorder_has_room(size_t bytes); /* whether the budget allows that many more */
int recorder_recycles(void);         /* whether the oldest records make room for new ones */
record_t *buffer_grow(buffer_t *buffer); /* room for two records, or NULL, counted as dropped */
/* The place of arguments among a buffer's; takes over the reference. NO_PAYLOAD: no memory, dropped and counted. */
uint32_t payload_add(buffer_t *buffer, PyObject *args);
PyObject *payload_at(const payloads_t *payloads, uint32_t place); /* borrowed; NULL: NO_PAYLOAD */
void payload_free(payloads_t *payloads, uint32_t place);
/* Give everything back; `ours`: it is this process's, not one's that has forked. */
void part_clear(part_t *part, int ours);
void budget_reset(void); /* in a forked child: nothing is used, and no window is open */
void chunk_free(chunk_t *chunk);
/* The id of a label, a series or a lane in the open window; -1 if there is no room for it. */
__attribute__((noinline)) int64_t label_id(PyObject *label);
__attribute__((noinline)) int64_t series_id(PyObject *series);
int64_t lane_id(PyObject *lane);
/* Clear an exception of the program's that a span must not raise; an interrupt comes again. */
void program_error_clear(void);

/* ---- keywords.c ------------------------------------------------------------------------------------------------ */

/* A span's keywords; span.h makes them. */
extern PyTypeObject Keywords_Type;
size_t keywords_bytes(PyObject *keywords); /* about what they take in memory */

/* ---- recycle.c ----------------------------------------------------------------------------------------------- */

/* Note a begin before those of the buffer's records: 0, or -1 without memory. */
int begun_add(begun_list_t *begun, const record_t *record, uint32_t lane, int cut);
/* The oldest chunk there is, emptied but for the spans that begin in it and have not ended, which are noted as begun;
   NULL: there is none. */
chunk_t *chunk_recycle(void);
/* Drop some of the oldest records there are, and their arguments, in the same way; whether there are any. */
int records_recycle(void);
/* Forget the labels, series and lanes that no record has any more. */
void registries_compact(void);

/* ---- threads.c ----------------------------------------------------------------------------------------------- */

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

buffer_t *buffer_adopt(void);         /* NULL: no memory; nothing raised */
/* The buffer of a thread; NULL: it has none. */
buffer_t *buffer_of(PyThreadState *state);
/* A buffer for what is known of another thread, which goes with the window; NULL: no memory. */
buffer_t *buffer_for_other(PyObject *thread, unsigned long tid);
/* The Thread object of an ident, borrowed; NULL: there is none. */
PyObject *thread_of(unsigned long ident);
/* Ask again whose the calling thread's buffer is. */
__attribute__((noinline)) void buffer_ask_thread(buffer_t *buffer);
void buffer_clear(buffer_t *buffer);  /* forget what the window holds; the open spans stay */
/* Hand what a buffer holds of the window over. */
part_t buffer_hand_over(buffer_t *buffer);
void buffers_prune(void); /* drop the buffers of threads that have ended */
void buffers_reset(void); /* drop all buffers, and record nothing any more */

/* The calling thread's buffer. */
static inline buffer_t *buffer_mine(void) {
    thread_slot_t *slot = &thread_slot;
    return likely(slot->epoch == recorder.epoch) ? slot->buffer : buffer_adopt();
}

/* ---- lanes.c ------------------------------------------------------------------------------------------------- */

extern PyTypeObject Lane_Type;

/* Let what the calling thread records next stand where it is now, in a task or in none, which may run Python code; and
   the spans that are open there, one of which is about to end or not. NULL: the thread has no buffer; `buffer` is its
   own, and may be another one then. */
__attribute__((noinline)) open_t *turn(buffer_t **buffer, int ends);
void look_for_asyncio(void);         /* learn of asyncio once the program has imported it */
void lane_ask_name(lane_t *lane);    /* learn what its task is called now; may run Python code */
int lanes_hold_open(const buffer_t *buffer); /* whether a span is open in one of a buffer's lanes */
void lanes_forget(buffer_t *buffer); /* a buffer's thread has ended: forget its lanes, and what is open in them */

/* Whether an event of a thread has to ask where it is: its last one was in a task, or some loop is in one now. */
static inline int asks(const buffer_t *buffer) {
    return buffer->asks | (((const PyDictObject *)recorder.running)->ma_used != 0);
}

/* The calling thread's buffer, for what stands where the thread is now; NULL: there is none. */
static inline buffer_t *buffer_here(void) {
    buffer_t *buffer = buffer_mine();
    if (likely(buffer != NULL) && unlikely(asks(buffer)) && turn(&buffer, 0) == NULL) return NULL;
    return buffer;
}

/* ---- window.c ------------------------------------------------------------------------------------------------ */

/* One thread's part of a sealed window. */
typedef struct {
    unsigned long tid;
    PyObject *name; /* the thread itself until it is asked */
    part_t part;
} sealed_thread_t;

typedef struct {
    PyObject_HEAD
    tick_point_t opened, sealed;
    uint64_t epoch;
    registry_t labels, series, lanes; /* as the recorder's */
    PyObject *lane_names; /* dict: lane -> its task's name */
    size_t text_bytes;
    uint64_t lost;
    unsigned long long unsure; /* as the recorder's */
    sealed_thread_t *threads;
    size_t thread_count;
} window_t;

extern PyTypeObject Window_Type;

/* ---- parts --------------------------------------------------------------------------------------------------- */

int clock_add(PyObject *module);
int besides_add(PyObject *module);
int stacks_add(PyObject *module);
int ring_add(PyObject *module);
int threads_add(PyObject *module);
int lanes_add(PyObject *module);
int window_add(PyObject *module);
int span_add(PyObject *module);
int call_add(PyObject *module);
int points_add(PyObject *module);
int decorated_add(PyObject *module);
int ops_add(PyObject *module);
int paired_add(PyObject *module);
int calls_add(PyObject *module);
int calls_monitoring_add(PyObject *module);
int calls_profile_add(PyObject *module);

#endif
