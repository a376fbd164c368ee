/* The longest rising run of what two lists have once each; the twin of twin/align.py.

   Runs of each length end as early in right as may be. The run that a member prolongs is found among them by halving;
   before is where it ends, for the way back. The search runs without the GIL and allocates with PyMem_Raw. */

#include "table.h"

typedef struct {
    uint32_t i, j; /* places */
    uint32_t before; /* 1 + the number of the member before in its run; 0: none */
} member_t;

/* Find what is once in both, in order of left; how many there are. */
static size_t find_members(const table_t *left, const table_t *right, size_t count, member_t *members) {
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (table_find(left, left->keys[i]) != (int64_t)i || left->next[i])
            continue;
        int64_t j = table_find(right, left->keys[i]);
        if (j >= 0 && !right->next[j])
            members[found++] = (member_t){(uint32_t)i, (uint32_t)j, 0};
    }
    return found;
}

/* Find the runs; ends has the number of the last member of the best of each length. How long the longest is. */
static size_t find_runs(member_t *members, size_t count, uint32_t *ends) {
    size_t longest = 0;
    for (size_t at = 0; at < count; at++) {
        size_t low = 0, high = longest;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (members[ends[middle]].j < members[at].j)
                low = middle + 1;
            else
                high = middle;
        }
        members[at].before = low ? ends[low - 1] + 1 : 0;
        ends[low] = (uint32_t)at;
        if (low == longest)
            longest++;
    }
    return longest;
}

/* What is searched, and what for. */
typedef struct {
    table_t left, right;
    member_t *members;
    uint32_t *ends, *places[2];
    size_t found;
} search_t;

static void search_free(search_t *search) {
    table_free(&search->left);
    table_free(&search->right);
    PyMem_RawFree(search->members);
    PyMem_RawFree(search->ends);
}

/* Find the places; 0, or -1: no memory. */
static int search_lists(search_t *search, const Py_buffer *left, const Py_buffer *right) {
    size_t count = (size_t)left->len / 8;
    if (table_make(&search->left, left->buf, count) < 0 ||
        table_make(&search->right, right->buf, (size_t)right->len / 8) < 0 ||
        !(search->members = PyMem_RawMalloc((count + 1) * sizeof *search->members)) ||
        !(search->ends = PyMem_RawMalloc((3 * count + 1) * sizeof *search->ends)))
        return -1;
    size_t members = find_members(&search->left, &search->right, count, search->members);
    search->found = find_runs(search->members, members, search->ends);
    search->places[0] = search->ends + count;
    search->places[1] = search->places[0] + count;
    uint32_t at = search->found ? search->ends[search->found - 1] + 1 : 0;
    for (size_t place = search->found; at; at = search->members[at - 1].before) {
        search->places[0][--place] = search->members[at - 1].i;
        search->places[1][place] = search->members[at - 1].j;
    }
    return 0;
}

PyDoc_STRVAR(align_unique_doc, "align_unique(left, right, /)\n--\n\n"
                               "Pair the members of the longest rising run of what two lists have once each.");

static PyObject *align_unique(PyObject *Py_UNUSED(module), PyObject *args) {
    static const array_is_t LEFT = {"align_unique", "left", 'Q'}, RIGHT = {"align_unique", "right", 'Q'};
    PyObject *arrays[2], *both = NULL;
    Py_buffer left = {0}, right = {0};
    search_t search = {0};
    int failed;
    if (!PyArg_ParseTuple(args, "OO:align_unique", &arrays[0], &arrays[1]))
        return NULL;
    if (array_get(arrays[0], LEFT, 0, &left) < 0 || array_get(arrays[1], RIGHT, 0, &right) < 0)
        goto done;
    if (left.len / 8 >= UINT32_MAX || right.len / 8 >= UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "align_unique: a list has more than 2**32 - 2 members");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    failed = search_lists(&search, &left, &right);
    Py_END_ALLOW_THREADS
    if (failed)
        PyErr_NoMemory();
    else
        both = array_pair_from_ids(search.places[0], search.places[1], search.found);

done:
    search_free(&search);
    PyBuffer_Release(&left);
    PyBuffer_Release(&right);
    return both;
}

static PyMethodDef METHODS[] = {
    {"align_unique", align_unique, METH_VARARGS, align_unique_doc},
    {NULL, NULL, 0, NULL},
};

int align_unique_add(PyObject *module) {
    return PyModule_AddFunctions(module, METHODS);
}
