/* What the files that scan Chrome JSON share.

       keys.c            numbers for byte strings, in order of first appearance
       chrome_scan.c     where values end; plain events -> rows      (twin/chrome_read.py)
       chrome_read.c     what Python makes of it
       chrome_args.c     arguments that need no parsing yet          (twin/chrome_args.py) */

#ifndef STEPSCOPE_CHROME_READ_H
#define STEPSCOPE_CHROME_READ_H

#include "native.h"

/* ---- keys.c ---- */

typedef struct {
    char *block; /* all keys, one behind the other */
    size_t used, room;
    size_t *starts; /* where each begins; one more than there are */
    uint32_t *slots; /* 1 + number, 0: free; a power of two */
    Py_hash_t *hashes;
    size_t count, capacity, slot_count;
} keys_t;

void keys_free(keys_t *keys);
/* A key's number, the next one if it is new; -1 when there is no memory. Needs no GIL. */
int64_t key_number(keys_t *keys, const void *key, size_t length);
/* The same, where the key is often the one of that number; -1: of none. */
int64_t key_number_near(keys_t *keys, const void *key, size_t length, int64_t before);

static inline size_t key_length(const keys_t *keys, size_t number) {
    return keys->starts[number + 1] - keys->starts[number];
}

/* ---- chrome_scan.c ---- */

/* Integers that Python gets as an array 'q'. */
typedef struct {
    int64_t *of;
    size_t count, room;
} integers_t;

typedef struct {
    int64_t ts, dur;
    uint32_t name, cat, site, track;
    uint32_t kind;
} row_t;

typedef struct {
    PyObject_HEAD
    keys_t texts, threads;
    row_t *rows;
    size_t count, room;
    uint32_t no_name, no_category;
    int64_t last_name, last_category, last_site, last_thread; /* of the event before; -1: none */
    integers_t args, unusual;                      /* of the bytes that are being scanned */
    int busy;                                      /* a thread is scanning without the GIL, or it is spent */
} scanner_t;

/* Where a value ends is no place. */
enum { INCOMPLETE = -1, NO_VALUE = -2 };

/* Behind the JSON value at `at`, which is before end; INCOMPLETE: behind all bytes; NO_VALUE: none begins there. */
Py_ssize_t value_end(const uint8_t *data, Py_ssize_t at, Py_ssize_t end);

typedef enum { MORE, END, DAMAGED, EXHAUSTED } state_t;

/* Scan items from *stopped on, which tells then where it stopped. Needs no GIL. */
state_t scan(scanner_t *self, const uint8_t *data, Py_ssize_t end, Py_ssize_t *stopped);

#endif
