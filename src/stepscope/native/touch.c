/* Touching ahead: a thread has the system map the columns while pairing fills them.

       pairing   map 0.. | pair 0..     | pair 262144.. | pair 524288.. ...
       thread    map 262144.. | map 524288.. | ...

   The first touch of a page, which the system clears, takes as long as pairing what is put there. Nothing is written
   here: where the thread comes late, or the system knows no such call, pages are mapped as they are written. */

#include "ahead.h"
#include "pair.h"

#ifdef __linux__
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

enum { FEW_ROWS = 1 << 14, STEP_ROWS = 1 << 18, PAGE = 4096 };

/* Have the pages of a step's rows of a column mapped; 0, or -1 when the system does not. */
static int map_rows(const touch_t *self, int number, Py_ssize_t first) {
    const Py_buffer *column = &self->columns->held[number];
    Py_ssize_t end = self->rows - first < STEP_ROWS ? self->rows : first + STEP_ROWS;
    uintptr_t from = (uintptr_t)column->buf + (size_t)(first * column->itemsize);
    uintptr_t to = (uintptr_t)column->buf + (size_t)(end * column->itemsize);
    from -= from % PAGE;
    to -= to % PAGE;
    return from < to ? madvise((void *)from, to - from, MADV_POPULATE_WRITE) : 0;
}

static int opens_row(const record_t *record) {
    switch (record->kind) {
    case REC_BEGIN:
    case REC_BEGIN_ARGS:
    case REC_CALL:
    case REC_INSTANT:
    case REC_INSTANT_ARGS:
    case REC_FLOW:
        return 1;
    default:
        return 0;
    }
}

/* About how many rows a window's records become, by the first ones of each chunk. */
static Py_ssize_t rows_about(const window_t *window) {
    enum { SAMPLE = 64 };
    size_t rows = 0;
    for (size_t t = 0; t < window->thread_count; t++)
        for (const chunk_t *chunk = window->threads[t].part.first; chunk != NULL; chunk = chunk->next) {
            size_t seen = 0, opened = 0;
            for (; seen < SAMPLE && seen < chunk->used; seen += (size_t)record_length(&chunk->records[seen]))
                opened += (size_t)opens_row(&chunk->records[seen]);
            rows += seen ? opened * chunk->used / seen : 0;
        }
    return (Py_ssize_t)rows;
}

static void *touch(void *of) {
    const touch_t *self = of;
    for (Py_ssize_t first = STEP_ROWS; first < self->rows; first += STEP_ROWS) {
        for (int i = 0; i < COLUMNS; i++) {
            if (atomic_load_explicit(&self->stop, memory_order_relaxed)) return NULL;
            if (map_rows(self, i, first) < 0) return NULL;
        }
    }
    return NULL;
}

void touch_begin(touch_t *self, const columns_t *columns, const window_t *window) {
    Py_ssize_t rows = rows_about(window);
    if (rows > columns->rows) rows = columns->rows;
    *self = (touch_t){.columns = columns, .rows = rows};
    if (rows > STEP_ROWS) self->begun = thread_start(&self->thread, touch, self) == 0;
    for (int i = 0; rows > FEW_ROWS && i < COLUMNS; i++)
        if (map_rows(self, i, 0) < 0) return;
}

void touch_end(touch_t *self) {
    if (!self->begun) return;
    atomic_store_explicit(&self->stop, 1, memory_order_relaxed);
    pthread_join(self->thread, NULL);
}

#else

void touch_begin(touch_t *self, const columns_t *columns, const window_t *window) {
    (void)window;
    *self = (touch_t){.columns = columns};
}

void touch_end(touch_t *self) { (void)self; }

#endif
