/* Alignment of two short lists; the twin of twin/align.py.

   best has a row for each member of base and one before, a column for each of head and one before: what the pairs of all
   members before are worth together at most. The way back along it gives them. It is small, and align_few keeps the
   GIL. */

#include "align.h"

#include <string.h>

/* What a pair is worth; two that are not equal at all, but in one place, too. Arguments decide between what is worth the
   same otherwise. */
enum { WORTH_FULL = 5000, WORTH_SHAPE = 4000, WORTH_NAME = 3000, IN_ONE_PLACE = 1000, WORTH_OWN = 1 };

void tiers_release(tiers_t *list) {
    while (list->held)
        PyBuffer_Release(&list->buffers[--list->held]);
}

int tiers_get(PyObject *tuple, const char *name, tiers_t *list) {
    static const char *const NAMES[] = {"full", "shape", "own", "name"};
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != TIERS) {
        PyErr_Format(PyExc_TypeError, "%s: must be a stepscope.core.trees.Tiers, not %.100s", name,
                     Py_TYPE(tuple)->tp_name);
        return -1;
    }
    for (; list->held < TIERS; list->held++) {
        const array_is_t is = {name, NAMES[list->held], 'Q'};
        PyObject *array = PyTuple_GET_ITEM(tuple, list->held);
        Py_buffer *buffer = &list->buffers[list->held];
        if ((list->held ? array_of_length(array, is, (Py_ssize_t)list->count, buffer)
                        : array_get(array, is, 0, buffer)) < 0)
            return -1;
        list->tiers[list->held] = buffer->buf;
        list->count = (size_t)buffer->len / 8;
    }
    return 0;
}

static inline uint32_t worth(const tiers_t *base, const tiers_t *head, size_t i, size_t j) {
    if (base->tiers[NAME][i] != head->tiers[NAME][j])
        return IN_ONE_PLACE;
    if (base->tiers[FULL][i] == head->tiers[FULL][j])
        return WORTH_FULL;
    uint32_t more = base->tiers[OWN][i] == head->tiers[OWN][j] ? WORTH_OWN : 0;
    return more + (base->tiers[SHAPE][i] == head->tiers[SHAPE][j] ? WORTH_SHAPE : WORTH_NAME);
}

static inline uint32_t larger(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

static void weigh(const tiers_t *base, const tiers_t *head, uint32_t *best) {
    size_t width = head->count + 1;
    memset(best, 0, width * sizeof *best);
    for (size_t i = 0; i < base->count; i++) {
        const uint32_t *above = best + i * width;
        uint32_t *row = best + (i + 1) * width;
        row[0] = 0;
        for (size_t j = 0; j < head->count; j++)
            row[j + 1] = larger(larger(above[j + 1], row[j]), above[j] + worth(base, head, i, j));
    }
}

/* Write the places of the pairs, both falling; how many there are. */
static size_t walk_back(const tiers_t *base, const tiers_t *head, const uint32_t *best, uint32_t *const places[2]) {
    size_t width = head->count + 1, i = base->count, j = head->count, found = 0;
    while (i && j) {
        uint32_t score = best[i * width + j];
        if (score == best[(i - 1) * width + j]) {
            i--;
        } else if (score == best[i * width + j - 1]) {
            j--;
        } else {
            i--;
            j--;
            if (base->tiers[NAME][i] == head->tiers[NAME][j]) {
                places[0][found] = (uint32_t)i;
                places[1][found++] = (uint32_t)j;
            }
        }
    }
    return found;
}

size_t tiers_align(const tiers_t *base, const tiers_t *head, uint32_t *best, uint32_t *const places[2]) {
    weigh(base, head, best);
    return walk_back(base, head, best, places);
}

/* Both arrays of places; NULL with an exception. */
static PyObject *aligned(const tiers_t *base, const tiers_t *head) {
    size_t width = head->count + 1, fewer = base->count < head->count ? base->count : head->count;
    uint32_t *places[2] = {NULL, NULL}, *best = NULL;
    PyObject *both = NULL;
    if (fewer > UINT32_MAX / WORTH_FULL || base->count + 1 > PY_SSIZE_T_MAX / sizeof *best / width)
        return PyErr_NoMemory();
    best = PyMem_Malloc((base->count + 1) * width * sizeof *best);
    places[0] = PyMem_Malloc((2 * fewer + 1) * sizeof *places[0]);
    if (!best || !places[0]) {
        PyErr_NoMemory();
        goto done;
    }
    places[1] = places[0] + fewer;
    size_t found = tiers_align(base, head, best, places);
    both = array_pair_from_ids(places[0], places[1], found);

done:
    PyMem_Free(best);
    PyMem_Free(places[0]);
    return both;
}

PyDoc_STRVAR(align_few_doc, "align_few(base, head)\n--\n\n"
                            "Pair the members of two lists, each once at most and in order.");

static PyObject *align_few(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"base", "head", NULL};
    PyObject *tuples[2], *result = NULL;
    tiers_t base = {0}, head = {0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:align_few", names, &tuples[0], &tuples[1]))
        return NULL;
    if (tiers_get(tuples[0], "base", &base) == 0 && tiers_get(tuples[1], "head", &head) == 0)
        result = aligned(&base, &head);
    tiers_release(&base);
    tiers_release(&head);
    return result;
}

static PyMethodDef METHODS[] = {
    {"align_few", (PyCFunction)(void (*)(void))align_few, METH_VARARGS | METH_KEYWORDS, align_few_doc},
    {NULL, NULL, 0, NULL},
};

int align_add(PyObject *module) {
    return PyModule_AddFunctions(module, METHODS);
}
