/* What the files of the .pftrace scanner share: perfetto_read.c makes it and is called by Python, perfetto_scan.c reads
   packets into its columns, perfetto_tables.c keeps what packets refer to. */

#ifndef STEPSCOPE_PERFETTO_READ_H
#define STEPSCOPE_PERFETTO_READ_H

#include "native.h"

/* The values of core/events.py. */
enum { EVENT_BEGIN = 1, EVENT_END = 2, EVENT_POINT = 3, EVENT_COUNT = 4, EVENT_COMPLETE = 5 };
enum { SCAN_DONE = 0, SCAN_PACKET = 1, SCAN_TRUNCATED = 2, SCAN_MALFORMED = 3, SCAN_NO_MEMORY = 4 };
#define NO_ROW UINT32_MAX

/* ---- tables ---- */

/* Two numbers -> one: open addressing, at most half full. */
typedef struct {
    uint64_t a, b;
    uint32_t value, used;
} slot_t;
typedef struct {
    slot_t *slots;
    size_t room, count;
} map_t;

/* Text -> id: they count from 0 by first use. */
typedef struct {
    char **of;
    size_t *lengths;
    uint64_t *hashes;
    size_t count, room;
    uint32_t *ids; /* 1 + id by hash */
    size_t places;
} text_table_t;

/* A clock of a sequence: ts = ns + offset for ns from lowest to highest, as long as epoch is the scanner's. */
typedef struct {
    uint64_t epoch;
    int64_t unit_ns, last, lowest, highest, offset;
    int incremental;
} clock_ns_t;

typedef struct {
    uint32_t generation, track;
    int valid;
    uint64_t clock; /* the id of times that name none */
} sequence_state_t;

/* ---- columns: see core/events.py ---- */

typedef struct {
    int64_t *ts;
    uint8_t *kind;
    uint32_t *track, *name, *cat, *site;
    size_t count, room;
} events_t;

typedef struct {
    uint32_t event, buffer, generation;
    uint64_t start, stop;
} detail_t;
typedef struct {
    detail_t *of;
    size_t count, room;
} details_t;

typedef struct {
    uint64_t flow;
    uint32_t event;
    uint8_t last;
} flow_id_t;
typedef struct {
    flow_id_t *of;
    size_t count, room;
} flow_ids_t;

typedef struct {
    int64_t ts;
    double value;
    uint32_t track, generation;
} count_t;
typedef struct {
    count_t *of;
    size_t count, room;
} counts_t;

typedef struct {
    PyObject_HEAD
    unsigned long long packets;
    events_t events;
    details_t details;
    flow_ids_t flows;
    counts_t counts;
    text_table_t texts;
    map_t interned;  /* iid, generation << 32 | table -> text */
    map_t tracks;    /* uuid -> track */
    map_t sequences; /* number -> place in states */
    sequence_state_t *states;
    size_t state_count, state_room;
    map_t clock_places; /* clock id, sequence number -> place in clocks */
    clock_ns_t *clocks;
    size_t clock_count, clock_room;
    uint32_t track_count;
    uint32_t buffer; /* the caller's number of the data that was scanned last */
    uint64_t epoch;
    int busy; /* a thread is scanning without the GIL */
} scanner_t;

/* What says where a row's function is, and its text id, which every scanner knows it by; core/values.py SITE_KEY. */
#define SITE_KEY "stepscope:site"
enum { SITE_TEXT = 1 };

/* The packet at which a scan stopped, in bytes. */
typedef struct {
    size_t at, start, stop;
} stop_t;

/* ---- perfetto_tables.c; nothing there needs the GIL ---- */

/* Hash by a number that no file knows, so that none makes its ids collide. */
void tables_seed(uint64_t number);

/* Room for one more item of that size behind count; 0, or -1 when there is no memory. */
int make_room(void *items, size_t size, size_t count, size_t *room);
/* The value of a pair, or NULL. */
uint32_t *map_find(const map_t *map, uint64_t a, uint64_t b);
/* The value of a pair, set to value if there was none; NULL when there is no memory. */
uint32_t *map_add(map_t *map, uint64_t a, uint64_t b, uint32_t value);
/* The id of a text; -1 when there is no memory. */
int64_t text_id(text_table_t *texts, const char *at, size_t length);
void texts_free(text_table_t *texts);
/* What is known of a sequence, or NULL. */
sequence_state_t *find_sequence(const scanner_t *self, uint64_t number);
clock_ns_t *find_clock(const scanner_t *self, uint64_t number, uint64_t id);
/* The number of a track; -1 when there is no memory. */
int64_t track_number(scanner_t *self, uint64_t uuid);
int intern_text(scanner_t *self, uint32_t generation, uint32_t table, uint64_t iid, const char *at, size_t length);
/* A text id, or -1. */
int64_t interned_text(const scanner_t *self, uint32_t generation, uint32_t table, uint64_t iid);
/* What an event is called. */
typedef struct {
    uint32_t name, cat, site;
} event_texts_t;
/* Add to the columns; 0, or -1 when there is no memory. */
int add_event(events_t *events, int64_t ts, uint8_t kind, uint32_t track, event_texts_t texts);
int add_detail(details_t *details, detail_t detail);
int add_flow(flow_ids_t *flows, flow_id_t point);
int add_count(counts_t *counts, count_t count);

/* ---- perfetto_scan.c ---- */

/* Read packets from at on; what has stopped it, and where. Needs no GIL. */
int scan_packets(scanner_t *self, const uint8_t *data, size_t at, size_t end, stop_t *stop);

/* ---- perfetto_take.c ---- */

/* Scanned: copies of all that was found; NULL with an exception. */
PyObject *take_scanned(const scanner_t *self);

#endif
