/* Arrays: array.array objects made, and held so that they cannot be resized while C works on them.

   A new array is made of memory that is zero already, or that is not set where every item is going to be written:
   filling it would touch every page once more than that. The module has no call for it, so the object is put together
   here, the way Cython's cpython.array does it, and only where a trial shows that it looks like this:

       PyVarObject | char *ob_item | Py_ssize_t allocated | ... */

#include "native.h"

#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

static PyObject *array_type; /* array.array */
static int is_known;         /* whether arrays are made as drawn above */

typedef struct {
    PyObject_VAR_HEAD
    char *items;
    Py_ssize_t allocated;
} array_t;

PyObject *imported(const char *module, const char *name) {
    PyObject *from = PyImport_ImportModule(module);
    PyObject *found = from ? PyObject_GetAttrString(from, name) : NULL;
    Py_XDECREF(from);
    return found;
}

static size_t item_size(char typecode) {
    return typecode == 'B' ? 1 : typecode == 'I' ? 4 : 8;
}

/* Large memory is mapped two MiB at a time where the system can: page by page, its first touch costs more than pairing a
   slice. Linux lets memory begin where such a page does if its length is a multiple of theirs, with what malloc keeps of
   its own in front. */
enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };

/* How much to allocate for that many bytes. */
static size_t room_for(size_t bytes) {
    return bytes < HUGE_PAGE ? bytes : (bytes + PAGE + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE - PAGE;
}

/* Ask for such pages. */
static void expect_use(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
    if (bytes < HUGE_PAGE - PAGE)
        return;
    uintptr_t start = (uintptr_t)memory / PAGE * PAGE, end = ((uintptr_t)memory + bytes + PAGE - 1) / PAGE * PAGE;
    (void)madvise((void *)start, end - start, MADV_HUGEPAGE); /* advice: where it is not taken, nothing is lost */
#else
    (void)memory;
    (void)bytes;
#endif
}

/* As array_new, with the module's own calls. */
static PyObject *array_filled(char typecode, Py_ssize_t length) {
    PyObject *one = PyObject_CallFunction(array_type, "C[i]", typecode, 0);
    PyObject *array = one ? PySequence_Repeat(one, length) : NULL;
    Py_XDECREF(one);
    return array;
}

/* A new array, whose items are zero or not set. */
static PyObject *array_made(char typecode, Py_ssize_t length, int zeroed) {
    if (!is_known || length == 0 || length > PY_SSIZE_T_MAX / 16)
        return array_filled(typecode, length);
    array_t *array = (array_t *)PyObject_CallFunction(array_type, "C", typecode);
    if (!array)
        return NULL;
    size_t size = item_size(typecode), bytes = room_for((size_t)length * size);
    array->items = zeroed ? PyMem_Calloc(1, bytes) : PyMem_Malloc(bytes);
    if (!array->items) {
        Py_DECREF(array);
        return PyErr_NoMemory();
    }
    expect_use(array->items, bytes);
    Py_SET_SIZE(array, length);
    array->allocated = (Py_ssize_t)(bytes / size);
    return (PyObject *)array;
}

PyObject *array_new(char typecode, Py_ssize_t length) { return array_made(typecode, length, 1); }

PyObject *array_new_unset(char typecode, Py_ssize_t length) { return array_made(typecode, length, 0); }

PyObject *array_new_held(char typecode, Py_ssize_t length, Py_buffer *held) {
    PyObject *array = array_new(typecode, length);
    if (array && PyObject_GetBuffer(array, held, PyBUF_WRITABLE) < 0)
        Py_CLEAR(array);
    return array;
}

PyObject *array_from_ids(const uint32_t *ids, size_t count) {
    Py_buffer held;
    PyObject *array = array_new_held('I', (Py_ssize_t)count, &held);
    if (array) {
        if (count)
            memcpy(held.buf, ids, count * sizeof *ids);
        PyBuffer_Release(&held);
    }
    return array;
}

PyObject *array_pair_from_ids(const uint32_t *ones, const uint32_t *others, size_t count) {
    PyObject *one = array_from_ids(ones, count), *other = one ? array_from_ids(others, count) : NULL;
    PyObject *both = other ? PyTuple_Pack(2, one, other) : NULL;
    Py_XDECREF(one);
    Py_XDECREF(other);
    return both;
}

int array_get(PyObject *array, array_is_t is, int writable, Py_buffer *held) {
    int flags = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0);
    const char typecode[2] = {is.typecode, 0};
    if (!PyObject_CheckBuffer(array)) {
        PyErr_Format(PyExc_TypeError, "%s.%s: must be an array of typecode '%s', not %.100s", is.table, is.name,
                     typecode, Py_TYPE(array)->tp_name);
        return -1;
    }
    if (PyObject_GetBuffer(array, held, flags) < 0)
        return -1;
    const char *format = held->format ? held->format : "B";
    if (held->ndim != 1 || strcmp(format, typecode)) {
        PyErr_Format(PyExc_TypeError, "%s.%s: must be an array of typecode '%s', not '%.20s' of %d dimensions",
                     is.table, is.name, typecode, format, held->ndim);
        PyBuffer_Release(held);
        return -1;
    }
    return 0;
}

int array_of_length(PyObject *array, array_is_t is, Py_ssize_t length, Py_buffer *held) {
    if (array_get(array, is, 0, held) < 0)
        return -1;
    Py_ssize_t items = held->len / held->itemsize;
    if (items == length)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s.%s has %zd items: it must have %zd", is.table, is.name, items, length);
    PyBuffer_Release(held);
    return -1;
}

/* Whether arrays are made as drawn at the top; -1 with an exception. */
static int try_array(void) {
    Py_buffer held;
    if (((PyTypeObject *)array_type)->tp_basicsize < (Py_ssize_t)sizeof(array_t))
        return 0;
    PyObject *full = array_filled('q', 3), *empty = PyObject_CallFunction(array_type, "C", 'q');
    int is = -1;
    if (full && empty && PyObject_GetBuffer(full, &held, PyBUF_SIMPLE) == 0) {
        const array_t *array = (const array_t *)full, *none = (const array_t *)empty;
        is = Py_SIZE(full) == 3 && array->items == held.buf && array->allocated >= 3 && array->allocated < 64;
        is = is && Py_SIZE(empty) == 0 && none->items == NULL && none->allocated == 0;
        PyBuffer_Release(&held);
    }
    Py_XDECREF(full);
    Py_XDECREF(empty);
    return is;
}

int arrays_add(PyObject *Py_UNUSED(module)) {
    Py_XSETREF(array_type, imported("array", "array"));
    if (!array_type)
        return -1;
    is_known = try_array();
    return is_known < 0 ? -1 : 0;
}
