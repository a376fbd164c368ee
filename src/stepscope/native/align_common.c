/* The longest common subsequence of two lists that few edits lead from one to the other; the twin of twin/align.py.

   A diagonal is i - j. reach is how far, in i, each of them is reached by so many edits; the trail keeps what it was
   before each more of them, for the way back:

       edits    0          1                  2                            e
       reach    -1 0 1   | -2 -1 0 1 2      | -3 -2 -1 0 1 2 3         ... 2 e + 3 diagonals, from place e (e + 2) on

   The search runs without the GIL and allocates with PyMem_Raw. */

#include "native.h"

#include <string.h>

typedef struct {
    const uint64_t *left, *right;
    int64_t n, m;
    int64_t *trail;
    size_t room; /* of trail */
} search_t;

/* Where the reach of a diagonal is in the trail; those of -edits - 1 to edits + 1 are there. */
static inline size_t at(int64_t edits, int64_t diagonal) {
    return (size_t)(edits * (edits + 2) + diagonal + edits + 1);
}

/* Make room for what is reached by so many edits and one more; 0, or -1: no memory. */
static int trail_grow(search_t *search, int64_t edits) {
    size_t needed = at(edits + 1, edits + 2) + 1;
    if (needed <= search->room)
        return 0;
    int64_t *trail = PyMem_RawRealloc(search->trail, 2 * needed * sizeof *trail);
    if (!trail)
        return -1;
    search->trail = trail;
    search->room = 2 * needed;
    return 0;
}

/* Whether a diagonal is reached from the one above it, by a member of right. */
static inline int is_down(const int64_t *trail, int64_t edits, int64_t diagonal) {
    return diagonal == -edits ||
           (diagonal != edits && trail[at(edits, diagonal - 1)] < trail[at(edits, diagonal + 1)]);
}

typedef enum { REACHED, TOO_FAR, NO_MEMORY } outcome_t;

/* Search with one more edit each time; *edits is how many lead to the end of both. */
static outcome_t search_ends(search_t *search, int64_t most, int64_t *edits) {
    for (*edits = 0; *edits <= most; ++*edits) {
        int64_t now = *edits;
        if (trail_grow(search, now) < 0)
            return NO_MEMORY;
        int64_t *trail = search->trail;
        if (!now)
            trail[at(0, 1)] = 0;
        for (int64_t diagonal = -now; diagonal <= now; diagonal += 2) {
            int64_t i = is_down(trail, now, diagonal) ? trail[at(now, diagonal + 1)] : trail[at(now, diagonal - 1)] + 1;
            while (i < search->n && i - diagonal < search->m && search->left[i] == search->right[i - diagonal])
                i++;
            trail[at(now + 1, diagonal)] = i;
            if (i >= search->n && i - diagonal >= search->m)
                return REACHED;
        }
    }
    return TOO_FAR;
}

/* Write the places of what is equal along the way, from the end on; the first that is written. */
static size_t walk_back(const search_t *search, int64_t edits, uint32_t *places[2], size_t room) {
    int64_t i = search->n, j = search->m;
    for (; edits >= 0; edits--) {
        int64_t i_before = 0, j_before = 0;
        if (edits) {
            int64_t diagonal = i - j, came = diagonal + (is_down(search->trail, edits, diagonal) ? 1 : -1);
            i_before = search->trail[at(edits, came)];
            j_before = i_before - came;
        }
        while (i > i_before && j > j_before) {
            places[0][--room] = (uint32_t)--i;
            places[1][room] = (uint32_t)--j;
        }
        i = i_before;
        j = j_before;
    }
    return room;
}

/* Both arrays of places; NULL with an exception. */
static PyObject *common(search_t *search, int64_t most) {
    size_t fewer = (size_t)(search->n < search->m ? search->n : search->m), first = fewer;
    uint32_t *places[2] = {PyMem_RawMalloc((2 * fewer + 1) * sizeof *places[0])};
    int64_t edits;
    outcome_t outcome = NO_MEMORY;
    if (places[0]) {
        places[1] = places[0] + fewer;
        Py_BEGIN_ALLOW_THREADS
        outcome = search_ends(search, most, &edits);
        if (outcome == REACHED)
            first = walk_back(search, edits, places, fewer);
        Py_END_ALLOW_THREADS
    }
    PyObject *both = NULL;
    if (outcome == NO_MEMORY)
        PyErr_NoMemory();
    else
        both = array_pair_from_ids(places[0] + first, places[1] + first, fewer - first);
    PyMem_RawFree(places[0]);
    return both;
}

PyDoc_STRVAR(align_common_doc, "align_common(left, right, most)\n--\n\n"
                               "Pair the members of the longest common subsequence, if few edits lead from one list "
                               "to the other.");

static PyObject *align_common(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"left", "right", "most", NULL};
    static const array_is_t LEFT = {"align_common", "left", 'Q'}, RIGHT = {"align_common", "right", 'Q'};
    PyObject *arrays[2], *result = NULL;
    Py_buffer left = {0}, right = {0};
    long long most;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOL:align_common", names, &arrays[0], &arrays[1], &most))
        return NULL;
    if (array_get(arrays[0], LEFT, 0, &left) < 0 || array_get(arrays[1], RIGHT, 0, &right) < 0)
        goto done;
    search_t search = {left.buf, right.buf, left.len / 8, right.len / 8, NULL, 0};
    if (search.n > UINT32_MAX || search.m > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "align_common: a list has more than 2**32 - 1 members");
        goto done;
    }
    int64_t all = search.n + search.m;
    result = common(&search, most < all ? most : all);
    PyMem_RawFree(search.trail);

done:
    PyBuffer_Release(&left);
    PyBuffer_Release(&right);
    return result;
}

static PyMethodDef METHODS[] = {
    {"align_common", (PyCFunction)(void (*)(void))align_common, METH_VARARGS | METH_KEYWORDS, align_common_doc},
    {NULL, NULL, 0, NULL},
};

int align_common_add(PyObject *module) {
    return PyModule_AddFunctions(module, METHODS);
}
