/* What two lists have in common out of order; the twin of twin/align.py.

   The members that are not paired yet move up in a list of their places; in each pass, those of head wait by what they
   are, and those of base take the first one that waits. It allocates with PyMem_Raw, and keeps the GIL: it takes no
   longer than its arrays do. */

#include "align.h"
#include "mix.h"
#include "table.h"

/* The place of what has been paired. */
#define PAIRED UINT32_MAX

/* The places of members that are not paired, and what these are in a tier. */
typedef struct {
    uint32_t *places;
    uint64_t *keys;
    size_t count;
} rest_t;

static void rest_free(rest_t *rest) {
    PyMem_RawFree(rest->places);
    PyMem_RawFree(rest->keys);
}

/* Begin with all that are not among some places; 0, or -1: no memory. */
static int rest_make(rest_t *rest, const tiers_t *list, const uint32_t *taken, size_t count) {
    rest->places = PyMem_RawCalloc(list->count + 1, sizeof *rest->places);
    rest->keys = PyMem_RawMalloc((list->count + 1) * sizeof *rest->keys);
    if (!rest->places || !rest->keys)
        return -1;
    for (size_t at = 0; at < count; at++)
        rest->places[taken[at]] = 1;
    /* What is read is never behind what is written. */
    for (size_t at = 0; at < list->count; at++) {
        uint32_t is_paired = rest->places[at];
        if (!is_paired)
            rest->places[rest->count++] = (uint32_t)at;
    }
    return 0;
}

/* Leave out those that are paired now, which have the place PAIRED. */
static void rest_close(rest_t *rest) {
    size_t kept = 0;
    for (size_t at = 0; at < rest->count; at++)
        if (rest->places[at] != PAIRED)
            rest->places[kept++] = rest->places[at];
    rest->count = kept;
}

/* By which tiers members are paired, one after the other: by one, or by two at once. */
static const struct {
    int one, other;
} PASSES[] = {{FULL, FULL}, {SHAPE, OWN}, {OWN, OWN}, {SHAPE, SHAPE}, {NAME, NAME}};

static void rest_look_up(rest_t *rest, const uint64_t *tier, const uint64_t *other) {
    for (size_t at = 0; at < rest->count; at++) {
        uint32_t place = rest->places[at];
        rest->keys[at] = tier == other ? tier[place] : tier[place] + mix(other[place]);
    }
}

/* Pair what has one key, and write the places behind those that are found; 0, or -1: no memory. */
static int pair_keys(rest_t *base, rest_t *head, uint32_t *const places[2], size_t *found) {
    table_t table;
    if (table_make(&table, head->keys, head->count) < 0)
        return -1;
    for (size_t i = 0; i < base->count; i++) {
        int64_t j = table_take(&table, base->keys[i]);
        if (j < 0)
            continue;
        places[0][*found] = base->places[i];
        places[1][(*found)++] = head->places[j];
        base->places[i] = head->places[j] = PAIRED;
    }
    table_free(&table);
    rest_close(base);
    rest_close(head);
    return 0;
}

int tiers_align_rest(const tiers_t *base, const tiers_t *head, const uint32_t *const taken[2], size_t count,
                     uint32_t *const places[2], size_t *found) {
    rest_t left = {0}, right = {0};
    int failed = rest_make(&left, base, taken[0], count) < 0 || rest_make(&right, head, taken[1], count) < 0;
    *found = 0;
    for (size_t pass = 0; !failed && pass < sizeof PASSES / sizeof *PASSES && left.count && right.count; pass++) {
        rest_look_up(&left, base->tiers[PASSES[pass].one], base->tiers[PASSES[pass].other]);
        rest_look_up(&right, head->tiers[PASSES[pass].one], head->tiers[PASSES[pass].other]);
        failed = pair_keys(&left, &right, places, found) < 0;
    }
    rest_free(&left);
    rest_free(&right);
    return failed ? -1 : 0;
}

/* Whether what has been paired are members of a list; else an exception is set. */
static int are_members(const tiers_t *list, const char *name, const Py_buffer *taken) {
    const uint32_t *places = taken->buf;
    if (list->count >= PAIRED) {
        PyErr_Format(PyExc_ValueError, "align_rest: %s has more than 2**32 - 2 members", name);
        return 0;
    }
    for (size_t at = 0; at < (size_t)taken->len / 4; at++)
        if (places[at] >= list->count) {
            PyErr_Format(PyExc_ValueError, "align_rest: place %u of %s is paired, which has %zu members", places[at],
                         name, list->count);
            return 0;
        }
    return 1;
}

/* Both arrays of places; NULL with an exception. */
static PyObject *paired(const tiers_t *base, const tiers_t *head, const Py_buffer taken[2]) {
    const uint32_t *const both_taken[2] = {taken[0].buf, taken[1].buf};
    size_t fewer = base->count < head->count ? base->count : head->count, found;
    uint32_t *places[2] = {PyMem_RawMalloc((2 * fewer + 1) * sizeof *places[0])};
    PyObject *both = NULL;
    if (places[0]) {
        places[1] = places[0] + fewer;
        if (tiers_align_rest(base, head, both_taken, (size_t)taken[0].len / 4, places, &found) == 0)
            both = array_pair_from_ids(places[0], places[1], found);
        else
            PyErr_NoMemory();
    } else {
        PyErr_NoMemory();
    }
    PyMem_RawFree(places[0]);
    return both;
}

PyDoc_STRVAR(align_rest_doc, "align_rest(base, head, places)\n--\n\n"
                             "Pair what has not been paired and is alike, in order.");

static PyObject *align_rest(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"base", "head", "places", NULL};
    static const array_is_t ONES = {"places", "base", 'I'}, OTHERS = {"places", "head", 'I'};
    PyObject *tuples[2], *arrays[2], *result = NULL;
    Py_buffer taken[2] = {{0}, {0}};
    tiers_t base = {0}, head = {0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO(OO):align_rest", names, &tuples[0], &tuples[1], &arrays[0],
                                     &arrays[1]))
        return NULL;
    if (tiers_get(tuples[0], "base", &base) == 0 && tiers_get(tuples[1], "head", &head) == 0 &&
        array_get(arrays[0], ONES, 0, &taken[0]) == 0 &&
        array_of_length(arrays[1], OTHERS, taken[0].len / 4, &taken[1]) == 0 &&
        are_members(&base, "base", &taken[0]) && are_members(&head, "head", &taken[1]))
        result = paired(&base, &head, taken);
    PyBuffer_Release(&taken[0]);
    PyBuffer_Release(&taken[1]);
    tiers_release(&base);
    tiers_release(&head);
    return result;
}

static PyMethodDef METHODS[] = {
    {"align_rest", (PyCFunction)(void (*)(void))align_rest, METH_VARARGS | METH_KEYWORDS, align_rest_doc},
    {NULL, NULL, 0, NULL},
};

int align_rest_add(PyObject *module) {
    return PyModule_AddFunctions(module, METHODS);
}
