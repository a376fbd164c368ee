/* Arguments of rows as the files have them; the twin of twin/encode_args.py, where each row asks its format to encode it.

   Here that is for what needs a second look. Most arguments are texts, numbers, and lists and dicts of such, spelled as they
   are: encode_json.c and encode_annotations.c say which. The GIL is held, and let go of now and then: the program goes on
   while its trace is written. */

#include "encode_args.h"

enum { ROWS_A_TURN = 1024 };

static PyTypeObject *annotations_type; /* stepscope.core.protobuf.Annotations: a tuple */

/* What is done with all rows. */
typedef struct encoding {
    said_t (*put)(struct encoding *encoding, PyObject *args); /* encode a dict of arguments into bytes */
    PyObject *(*made)(struct encoding *encoding);             /* what becomes of the bytes; a new reference */
    PyObject *(*ask)(struct encoding *encoding, PyObject *row, PyObject *args); /* what the format makes of them */
    PyObject *encode; /* the format */
    bytes_t bytes;
    PyObject *done; /* row -> what was made */
    unsigned turn;

    PyObject *ids, *texts, *stack_key; /* of names; NULL for JSON */
    PyObject *last;                    /* the ids of the row before, which are often the same */
    uint32_t *used;                    /* the ids of this one */
    Py_ssize_t count, room;
} encoding_t;

/* ---- the rows ---- */

/* A mappingproxy's own mapping: all of Python's have had it here. */
typedef struct {
    PyObject_HEAD
    PyObject *mapping;
} proxy_t;

static int proxies_are_known;

static void know_proxies(void) {
    PyObject *dict = PyDict_New(), *proxy = dict ? PyDictProxy_New(dict) : NULL;
    proxies_are_known = proxy && Py_TYPE(proxy)->tp_basicsize == sizeof(proxy_t) && ((proxy_t *)proxy)->mapping == dict;
    PyErr_Clear();
    Py_XDECREF(proxy);
    Py_XDECREF(dict);
}

/* What a mappingproxy shows, or the object itself; borrowed. */
static PyObject *shown(PyObject *object) {
    return proxies_are_known && Py_IS_TYPE(object, &PyDictProxy_Type) ? ((proxy_t *)object)->mapping : object;
}

/* Encode a row; 0, or -1 with an exception. */
static int encode_row(encoding_t *encoding, PyObject *row, PyObject *args) {
    PyObject *dict = shown(args), *made;
    encoding->bytes.used = 0;
    said_t said = PyDict_CheckExact(dict) ? encoding->put(encoding, dict) : ODD;
    if (said == FAILED) {
        if (!PyErr_Occurred())
            PyErr_NoMemory();
        return -1;
    }
    made = said == PLAIN ? encoding->made(encoding) : encoding->ask(encoding, row, args);
    int status = made ? PyDict_SetItem(encoding->done, row, made) : -1;
    Py_XDECREF(made);
    if (++encoding->turn % ROWS_A_TURN == 0) {
        Py_BEGIN_ALLOW_THREADS
        Py_END_ALLOW_THREADS
    }
    return status;
}

/* The rows of a dict, which nobody changes. */
static int encode_dict(encoding_t *encoding, PyObject *dict) {
    PyObject *row, *args;
    Py_ssize_t place = 0;
    int status = 0;
    Py_INCREF(dict);
    while (!status && PyDict_Next(dict, &place, &row, &args)) {
        Py_INCREF(row);
        Py_INCREF(args);
        status = encode_row(encoding, row, args);
        Py_DECREF(args);
        Py_DECREF(row);
    }
    Py_DECREF(dict);
    return status;
}

/* The rows of any mapping. */
static int encode_items(encoding_t *encoding, PyObject *mapping) {
    PyObject *items = PyObject_CallMethod(mapping, "items", NULL), *each = items ? PyObject_GetIter(items) : NULL, *item;
    int status = each ? 0 : -1;
    while (!status && (item = PyIter_Next(each))) {
        if (PyTuple_Check(item) && PyTuple_GET_SIZE(item) == 2) {
            status = encode_row(encoding, PyTuple_GET_ITEM(item, 0), PyTuple_GET_ITEM(item, 1));
        } else {
            PyErr_Format(PyExc_TypeError, "args: an item must be a row and its arguments, not %R", item);
            status = -1;
        }
        Py_DECREF(item);
    }
    Py_XDECREF(each);
    Py_XDECREF(items);
    return status || PyErr_Occurred() ? -1 : 0;
}

/* The dict of all rows; NULL with an exception. */
static PyObject *encode_all(encoding_t *encoding, PyObject *args) {
    PyObject *mapping = shown(args);
    encoding->done = PyDict_New();
    int status = !encoding->done ? -1
                 : PyDict_CheckExact(mapping) ? encode_dict(encoding, mapping)
                                              : encode_items(encoding, args);
    if (status < 0)
        Py_CLEAR(encoding->done);
    PyMem_RawFree(encoding->bytes.at);
    PyMem_RawFree(encoding->used);
    Py_XDECREF(encoding->last);
    return encoding->done;
}

static PyObject *made_bytes(encoding_t *encoding) {
    return PyBytes_FromStringAndSize(encoding->bytes.at, (Py_ssize_t)encoding->bytes.used);
}

/* ---- JSON ---- */

static said_t put_json(encoding_t *encoding, PyObject *args) { return json_args(&encoding->bytes, args); }

static PyObject *ask_json(encoding_t *encoding, PyObject *row, PyObject *args) {
    return PyObject_CallFunctionObjArgs(encoding->encode, row, args, NULL);
}

PyDoc_STRVAR(encode_chrome_args_doc, "encode_chrome_args(args, encode)\n--\n\nThe inside of each row's args object.");

static PyObject *encode_chrome_args(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"args", "encode", NULL};
    PyObject *given;
    encoding_t encoding = {.put = put_json, .made = made_bytes, .ask = ask_json};
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:encode_chrome_args", names, &given, &encoding.encode))
        return NULL;
    return encode_all(&encoding, given);
}

/* ---- annotations ---- */

/* The id of a name, which is given one if it has none; 0, or -1 with an exception. */
static int name_id(encoding_t *encoding, PyObject *name, uint32_t *id) {
    PyObject *known = PyDict_GetItemWithError(encoding->ids, name);
    if (known) {
        *id = (uint32_t)PyLong_AsUnsignedLongMask(known);
        return PyErr_Occurred() ? -1 : 0;
    }
    if (PyErr_Occurred())
        return -1;
    *id = (uint32_t)PyList_GET_SIZE(encoding->texts);
    PyObject *number = PyLong_FromUnsignedLong(*id), *text = PyUnicode_AsUTF8String(name);
    int failed = !number || !text || PyDict_SetItem(encoding->ids, name, number) < 0 ||
                 PyList_Append(encoding->texts, text) < 0;
    Py_XDECREF(number);
    Py_XDECREF(text);
    return failed ? -1 : 0;
}

/* Ids are given out as the format would, in order: of an odd row it finds the first ones given. */
static said_t put_annotations(encoding_t *encoding, PyObject *args) {
    PyObject *key, *value;
    Py_ssize_t place = 0, count = PyDict_GET_SIZE(args);
    if (encoding->room < count) {
        uint32_t *grown = PyMem_RawRealloc(encoding->used, (size_t)count * sizeof *grown);
        if (!grown)
            return FAILED;
        encoding->used = grown;
        encoding->room = count;
    }
    encoding->count = 0;
    while (PyDict_Next(args, &place, &key, &value)) {
        if (!PyUnicode_CheckExact(key) || PyUnicode_Compare(key, encoding->stack_key) == 0)
            return ODD;
        uint32_t *id = &encoding->used[encoding->count++];
        said_t said = name_id(encoding, key, id) < 0 ? FAILED : annotation_put(&encoding->bytes, *id, value);
        if (said != PLAIN)
            return said;
    }
    return PLAIN;
}

/* The ids of a row's names, as a tuple: that of the row before, if they are the same. */
static PyObject *ids_used(encoding_t *encoding) {
    int same = encoding->last && PyTuple_GET_SIZE(encoding->last) == encoding->count;
    for (Py_ssize_t i = 0; same && i < encoding->count; i++)
        same = PyLong_AsUnsignedLong(PyTuple_GET_ITEM(encoding->last, i)) == encoding->used[i];
    if (same)
        return Py_NewRef(encoding->last);
    PyObject *ids = PyTuple_New(encoding->count);
    for (Py_ssize_t i = 0; ids && i < encoding->count; i++) {
        PyObject *id = PyLong_FromUnsignedLong(encoding->used[i]);
        if (!id)
            Py_CLEAR(ids);
        else
            PyTuple_SET_ITEM(ids, i, id);
    }
    Py_XSETREF(encoding->last, Py_XNewRef(ids));
    return ids;
}

static PyObject *made_annotations(encoding_t *encoding) {
    PyObject *encoded = made_bytes(encoding), *ids = encoded ? ids_used(encoding) : NULL;
    PyObject *made = ids ? annotations_type->tp_alloc(annotations_type, 2) : NULL;
    if (!made) {
        Py_XDECREF(encoded);
        Py_XDECREF(ids);
        return NULL;
    }
    PyTuple_SET_ITEM(made, 0, encoded);
    PyTuple_SET_ITEM(made, 1, ids);
    PyObject_GC_UnTrack(made); /* it refers to nothing that refers back: the collector need not look at a million of them */
    return made;
}

static PyObject *ask_annotations(encoding_t *encoding, PyObject *Py_UNUSED(row), PyObject *args) {
    return PyObject_CallOneArg(encoding->encode, args);
}

PyDoc_STRVAR(encode_perfetto_args_doc, "encode_perfetto_args(args, ids, texts, stack_key, encode)\n--\n\n"
                                       "Each row's debug annotations.");

static PyObject *encode_perfetto_args(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"args", "ids", "texts", "stack_key", "encode", NULL};
    PyObject *given;
    encoding_t encoding = {.put = put_annotations, .made = made_annotations, .ask = ask_annotations};
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!O!UO:encode_perfetto_args", names, &given, &PyDict_Type,
                                     &encoding.ids, &PyList_Type, &encoding.texts, &encoding.stack_key,
                                     &encoding.encode))
        return NULL;
    return encode_all(&encoding, given);
}

/* ---- the module's part ---- */

static PyMethodDef METHODS[] = {
    {"encode_chrome_args", (PyCFunction)(void (*)(void))encode_chrome_args, METH_VARARGS | METH_KEYWORDS,
     encode_chrome_args_doc},
    {"encode_perfetto_args", (PyCFunction)(void (*)(void))encode_perfetto_args, METH_VARARGS | METH_KEYWORDS,
     encode_perfetto_args_doc},
    {NULL, NULL, 0, NULL},
};

int encode_args_add(PyObject *module) {
    know_proxies();
    Py_XSETREF(annotations_type, (PyTypeObject *)imported("stepscope.core.protobuf", "Annotations"));
    return annotations_type ? PyModule_AddFunctions(module, METHODS) : -1;
}
