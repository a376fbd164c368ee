/* What the files that encode arguments share: bytes that grow, and what an encoding may say. */

#ifndef STEPSCOPE_ENCODE_ARGS_H
#define STEPSCOPE_ENCODE_ARGS_H

#include "native.h"

#include <string.h>

enum { MAX_ARGS_DEPTH = 16 };

typedef struct {
    char *at;
    size_t used, room;
} bytes_t;

/* What a value's encoding may say: it needs a second look, or there is no memory. */
typedef enum { PLAIN, ODD, FAILED } said_t;

/* Room for so many bytes more; 0, or -1 without memory. */
static inline int bytes_grow(bytes_t *bytes, size_t more) {
    if (likely(bytes->room - bytes->used >= more))
        return 0;
    size_t room = 2 * (bytes->used + more) + 256;
    char *grown = PyMem_RawRealloc(bytes->at, room);
    if (!grown)
        return -1;
    bytes->at = grown;
    bytes->room = room;
    return 0;
}

static inline void bytes_add(bytes_t *bytes, const void *what, size_t length) {
    memcpy(bytes->at + bytes->used, what, length);
    bytes->used += length;
}

static inline void bytes_put(bytes_t *bytes, char byte) { bytes->at[bytes->used++] = byte; }

/* A text's UTF-8; NULL if it is none, or no memory. */
static inline const char *utf8_of(PyObject *text, size_t *length) {
    if (!PyUnicode_CheckExact(text))
        return NULL;
    Py_ssize_t size;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &size);
    if (!utf8)
        PyErr_Clear();
    *length = utf8 ? (size_t)size : 0;
    return utf8;
}

/* ---- encode_json.c ---- */

/* The inside of an object of arguments, a dict. */
said_t json_args(bytes_t *out, PyObject *args);

/* ---- encode_annotations.c ---- */

/* An argument as one of a row's DebugAnnotations, its name by id. */
said_t annotation_put(bytes_t *out, uint32_t name, PyObject *value);

#endif
