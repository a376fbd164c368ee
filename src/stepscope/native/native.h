/* What the files of the extension share: the module's parts, columns as C sees them, and error paths.

   stepscope._native is the twin of stepscope.core.twin: same calls, same bytes. One subject a file:

       module.c     the module and its parts
       clock.c      ticks: CLOCK_BOOTTIME or the time-stamp counter, and their conversion
       ring.c       chunks of 16-byte records, one writer each; arm, open, seal, budget
       span.c       record_function, instant
       pair.c       a sealed window's records -> Columns
       columns.c    array.array columns as C pointers, and new ones
       settle.c     order, lanes, numbering          (twin/settle.py)
       nest.c       parents and own time             (twin/nest.py)
       chrome.c     rows of Chrome JSON              (twin/chrome.py)
       perfetto.c   rows of Perfetto protobuf        (twin/perfetto.py) */

#ifndef STEPSCOPE_NATIVE_H
#define STEPSCOPE_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The values of a row's kind; core/rows.py says what they mean. */
enum { ROW_SLICE = 0, ROW_INSTANT = 1, ROW_CUT = 2 };

/* The columns of a trace while C reads or writes them: core/rows.py Columns, each column's buffer held. */
typedef struct {
    Py_ssize_t rows;
    int64_t *ts, *dur;
    uint32_t *name, *cat, *site, *track;
    uint8_t *kind;
    Py_buffer held[7];
    int count; /* how many of held are */
} columns_t;

/* Take the buffers of a Columns tuple; 0, or -1 with an exception set and nothing held. */
int columns_get(PyObject *tuple, columns_t *columns, int writable);
/* A new Columns tuple of that many rows, all zero, with its buffers held for writing; NULL with an exception. */
PyObject *columns_new(Py_ssize_t rows, columns_t *columns);
/* Give the buffers back; harmless when none is held. */
void columns_release(columns_t *columns);
/* A new array.array of a typecode and length, zeroed; NULL with an exception. */
PyObject *array_new(char typecode, Py_ssize_t length);

/* Each part adds its types and functions to the module; 0, or -1 with an exception set. */
int columns_add(PyObject *module);
int settle_add(PyObject *module);
int nest_add(PyObject *module);
int chrome_add(PyObject *module);
int perfetto_add(PyObject *module);
int recorder_add(PyObject *module); /* clock.c, ring.c, span.c, pair.c */

#endif
