/* Hashes of call trees; the twin of twin/trees.py.

   One pass over the rows, last to first: children stand behind their parent, so that a row's own places have taken in
   all of them when its turn comes:

       full | shape | inner | label | own          8 bytes a row each

   The loop runs without the GIL. */

#include "mix.h"
#include "native.h"

static PyObject *trees_type; /* stepscope.core.trees.Trees */

#define OF_INSTANT UINT64_C(0x9E3779B97F4A7C15)

/* What is read and written, in the order of the buffers that hold it. */
typedef struct {
    const int64_t *parent;
    const uint64_t *names, *cats, *args;
    uint64_t *full, *shape, *inner, *label, *own;
} hashing_t;

/* Hash all rows; -1, or the row whose parent does not stand before it. Needs no GIL. */
static Py_ssize_t hash_rows(const columns_t *columns, const hashing_t *at, int ordered) {
    for (Py_ssize_t row = columns->rows - 1; row >= 0; row--) {
        int64_t above = at->parent[row];
        if (unlikely(above >= row || (above < -1 && -2 - above >= row)))
            return row;
        uint64_t kind_of = columns->kind[row] & ROW_INSTANT ? OF_INSTANT : 0;
        uint64_t name = at->names[columns->name[row]] + kind_of;
        uint64_t args = mix(at->args[row]), besides = mix(at->cats[columns->cat[row]] + args);
        uint64_t whole = mix(name + besides);
        at->label[row] = besides + kind_of;
        at->own[row] = mix(name + args);
        uint64_t full = at->full[row] = mix(at->full[row] + 3 * whole + 1);
        at->inner[row] = at->shape[row];
        uint64_t shape = at->shape[row] = mix(at->shape[row] + 3 * name + 1);
        if (above >= 0 && ordered) {
            at->full[above] = mix(5 * at->full[above] + full);
            at->shape[above] = mix(5 * at->shape[above] + shape);
        } else if (above >= 0) {
            at->full[above] += mix(full);
            at->shape[above] += mix(shape);
        }
    }
    return -1;
}

/* Hold what is read: 0, or -1 with an exception set; *held says how many buffers are. */
static int hold_inputs(PyObject *parent, PyObject *labels, const columns_t *columns, Py_buffer *buffers, int *held) {
    static const array_is_t IS[] = {{"hash_trees", "parent", 'q'}, {"labels", "names", 'Q'}, {"labels", "cats", 'Q'},
                                    {"labels", "args", 'Q'}};
    if (!PyTuple_Check(labels) || PyTuple_GET_SIZE(labels) != 3) {
        PyErr_Format(PyExc_TypeError, "labels: must be a stepscope.core.trees.Labels, not %.100s",
                     Py_TYPE(labels)->tp_name);
        return -1;
    }
    for (; *held < 4; ++*held) {
        PyObject *array = *held ? PyTuple_GET_ITEM(labels, *held - 1) : parent;
        int by_row = *held == 0 || *held == 3;
        Py_buffer *buffer = &buffers[*held];
        if ((by_row ? array_of_length(array, IS[*held], columns->rows, buffer)
                    : array_get(array, IS[*held], 0, buffer)) < 0)
            return -1;
    }
    if (columns_ids_below(columns, columns->name, "name", buffers[1].len / 8) < 0)
        return -1;
    return columns_ids_below(columns, columns->cat, "cat", buffers[2].len / 8);
}

PyDoc_STRVAR(hash_trees_doc, "hash_trees(columns, parent, labels, *, ordered)\n--\n\n"
                             "Hash each row's subtree.");

static PyObject *hash_trees(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"columns", "parent", "labels", "ordered", NULL};
    PyObject *tuple, *parent, *labels, *made[5] = {NULL}, *result = NULL;
    Py_buffer buffers[9] = {{0}};
    columns_t columns;
    int ordered, held = 0;
    Py_ssize_t wrong;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO$p:hash_trees", names, &tuple, &parent, &labels, &ordered) ||
        columns_get(tuple, &columns, 0) < 0)
        return NULL;
    if (hold_inputs(parent, labels, &columns, buffers, &held) < 0)
        goto done;
    for (int i = 0; i < 5; i++) {
        made[i] = array_new_held('Q', columns.rows, &buffers[held]);
        if (!made[i])
            goto done;
        held++;
    }
    const hashing_t at = {buffers[0].buf, buffers[1].buf, buffers[2].buf, buffers[3].buf,
                          buffers[4].buf, buffers[5].buf, buffers[6].buf, buffers[7].buf,
                          buffers[8].buf};
    Py_BEGIN_ALLOW_THREADS
    wrong = hash_rows(&columns, &at, ordered);
    Py_END_ALLOW_THREADS
    if (wrong >= 0)
        PyErr_Format(PyExc_ValueError, "row %zd: its parent is %lld, which does not stand before it", wrong,
                     (long long)at.parent[wrong]);
    else
        result = PyObject_CallFunctionObjArgs(trees_type, made[0], made[1], made[2], made[3], made[4], NULL);

done:
    while (held)
        PyBuffer_Release(&buffers[--held]);
    for (int i = 0; i < 5; i++)
        Py_XDECREF(made[i]);
    columns_release(&columns);
    return result;
}

static PyMethodDef METHODS[] = {
    {"hash_trees", (PyCFunction)(void (*)(void))hash_trees, METH_VARARGS | METH_KEYWORDS, hash_trees_doc},
    {NULL, NULL, 0, NULL},
};

int trees_add(PyObject *module) {
    Py_XSETREF(trees_type, imported("stepscope.core.trees", "Trees"));
    if (!trees_type)
        return -1;
    return PyModule_AddFunctions(module, METHODS);
}
