/* Pairs by first appearance; the twin of twin/pairs.py. They have a table of places, probed linearly:

       pairs    first | second
       places   1 + number of the pair, 0: free    a power of two, at most half of it taken

   The loop runs without the GIL and allocates with PyMem_Raw. */

#include "pairs.h"

static inline size_t place_of(const pairs_t *pairs, int64_t first, uint32_t second) {
    uint64_t bits = (uint64_t)first * UINT64_C(0x9E3779B97F4A7C15) + second;
    bits = (bits ^ (bits >> 29)) * UINT64_C(0xBF58476D1CE4E5B9);
    return (size_t)(bits ^ (bits >> 32)) & (pairs->room - 1);
}

static int grow(pairs_t *pairs) {
    size_t room = pairs->room ? pairs->room * 2 : 256;
    pair_t *kept = PyMem_RawRealloc(pairs->pairs, room / 2 * sizeof *kept);
    if (!kept)
        return -1;
    pairs->pairs = kept;
    uint32_t *places = PyMem_RawCalloc(room, sizeof *places);
    if (!places)
        return -1;
    PyMem_RawFree(pairs->places);
    pairs->places = places;
    pairs->room = room;
    for (size_t number = 0; number < pairs->count; number++) {
        size_t place = place_of(pairs, kept[number].first, kept[number].second);
        while (places[place])
            place = (place + 1) & (room - 1);
        places[place] = (uint32_t)number + 1;
    }
    return 0;
}

/* Where a pair is, or is to be. */
static inline size_t probe(const pairs_t *pairs, int64_t first, uint32_t second) {
    size_t place = place_of(pairs, first, second);
    for (; pairs->places[place]; place = (place + 1) & (pairs->room - 1)) {
        const pair_t *pair = &pairs->pairs[pairs->places[place] - 1];
        if (pair->first == first && pair->second == second)
            break;
    }
    return place;
}

int64_t pair_number(pairs_t *pairs, int64_t first, uint32_t second) {
    if (unlikely(pairs->count * 2 >= pairs->room) && grow(pairs) < 0)
        return -1;
    size_t place = probe(pairs, first, second);
    if (pairs->places[place])
        return pairs->places[place] - 1;
    if (unlikely(pairs->count == UINT32_MAX))
        return -1;
    pairs->pairs[pairs->count++] = (pair_t){first, second};
    pairs->places[place] = (uint32_t)pairs->count;
    return (int64_t)pairs->count - 1;
}

int64_t pair_find(const pairs_t *pairs, int64_t first, uint32_t second) {
    return pairs->room ? (int64_t)pairs->places[probe(pairs, first, second)] - 1 : -1;
}

void pairs_free(pairs_t *pairs) {
    PyMem_RawFree(pairs->pairs);
    PyMem_RawFree(pairs->places);
}

/* Number count pairs; 0, or -1: no memory. */
static int number_all(const int64_t *first, const uint32_t *second, size_t count, uint32_t *numbers) {
    pairs_t pairs = {0};
    int64_t number = 0;
    for (size_t at = 0; at < count && number >= 0; at++) {
        number = pair_number(&pairs, first[at], second[at]);
        numbers[at] = (uint32_t)number;
    }
    pairs_free(&pairs);
    return number < 0 ? -1 : 0;
}

PyDoc_STRVAR(number_pairs_doc, "number_pairs(first, second, /)\n--\n\n"
                               "The number of each pair, by first appearance.");

static PyObject *number_pairs(PyObject *Py_UNUSED(module), PyObject *args) {
    static const array_is_t FIRST = {"number_pairs", "first", 'q'}, SECOND = {"number_pairs", "second", 'I'};
    PyObject *arrays[2], *made = NULL;
    Py_buffer first = {0}, second = {0}, numbers = {0};
    int failed;
    if (!PyArg_ParseTuple(args, "OO:number_pairs", &arrays[0], &arrays[1]) ||
        array_get(arrays[0], FIRST, 0, &first) < 0)
        return NULL;
    Py_ssize_t count = first.len / 8;
    if (count > UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "number_pairs.first has %zd pairs: there are fewer than 2**32", count);
        goto done;
    }
    if (array_of_length(arrays[1], SECOND, count, &second) < 0 || !(made = array_new_held('I', count, &numbers)))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    failed = number_all(first.buf, second.buf, (size_t)count, numbers.buf);
    Py_END_ALLOW_THREADS
    if (failed) {
        PyErr_NoMemory();
        Py_CLEAR(made);
    }

done:
    PyBuffer_Release(&first);
    PyBuffer_Release(&second);
    PyBuffer_Release(&numbers);
    return made;
}

static PyMethodDef METHODS[] = {
    {"number_pairs", number_pairs, METH_VARARGS, number_pairs_doc},
    {NULL, NULL, 0, NULL},
};

int pairs_add(PyObject *module) {
    return PyModule_AddFunctions(module, METHODS);
}
