/* perfetto_rows: the iterator that hands out the rows of a .pftrace file, whole packets, about 1 MiB at a time.

   Rows are encoded track by track: perfetto_input.c sorts their numbers by track, perfetto.c walks each track, ahead of
   the caller (ahead.c). A packet that is larger than a chunk gets a chunk of its own size. */

#include "perfetto.h"

/* A flow's id has 24 bits for its name, which counts from 1. */
enum { MAX_FLOW_NAMES = (1 << 24) - 1 };

static PyTypeObject *rows_type;

/* ---- the next chunk ---- */

static void set_error(const perfetto_rows_t *self) {
    if (self->outcome == NO_MEMORY) {
        PyErr_NoMemory();
        return;
    }
    uint32_t row = self->rows ? self->rows[self->at] : (uint32_t)self->at;
    switch (self->outcome) {
    case INVALID:
        PyErr_Format(PyExc_ValueError, "row %u: its ids were changed while it was to be encoded", row);
        break;
    case BEFORE_START:
        PyErr_Format(PyExc_ValueError, "row %u begins before the clock of sequences[%zu] starts, start_ns %lld", row,
                     self->track, (long long)self->sequences[self->track].start_ns);
        break;
    case BACKWARDS:
        PyErr_Format(PyExc_ValueError, "row %u begins before the row before it on track %zu: rows must be settled", row,
                     self->track);
        break;
    case NEGATIVE:
        PyErr_Format(PyExc_ValueError, "row %u: columns.dur is negative", row);
        break;
    default:
        PyErr_Format(PyExc_ValueError, "row %u ends after the slice it begins in, on track %zu: rows must be settled",
                     row, self->track);
    }
}

static char *rows_fill(PyObject *object, char *to, const char *end) {
    perfetto_rows_t *self = (perfetto_rows_t *)object;
    uint8_t *out = (uint8_t *)to;
    self->needed = 0;
    self->outcome = perfetto_put(self, &out, (const uint8_t *)end);
    return (char *)out;
}

static size_t rows_wants(const PyObject *object) {
    const perfetto_rows_t *self = (const perfetto_rows_t *)object;
    if (self->finished)
        return 0;
    return self->needed > CHUNK_BYTES ? self->needed : CHUNK_BYTES;
}

static int rows_check(const PyObject *object) {
    const perfetto_rows_t *self = (const perfetto_rows_t *)object;
    if (self->outcome == WRITTEN || self->outcome == FULL)
        return 0;
    set_error(self);
    return -1;
}

static void rows_finish(PyObject *object) { ((perfetto_rows_t *)object)->finished = 1; }

static const encoder_t ENCODER = {"perfetto_rows", rows_fill, rows_wants, rows_check, rows_finish};

static PyObject *rows_next(PyObject *object) {
    return ahead_next(&((perfetto_rows_t *)object)->ahead, &ENCODER, object);
}

/* ---- the type ---- */

static int rows_traverse(PyObject *object, visitproc visit, void *arg) {
    perfetto_rows_t *self = (perfetto_rows_t *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->kept);
    int status = columns_visit(&self->columns, visit, arg);
    return status ? status : row_objects_visit(&self->args, visit, arg);
}

static int rows_clear(PyObject *object) {
    perfetto_rows_t *self = (perfetto_rows_t *)object;
    if (ahead_stop(&self->ahead) < 0)
        self->open = (open_slices_t){0}; /* a thread that is not here may have been about to move them */
    self->finished = 1;
    columns_release(&self->columns);
    row_objects_release(&self->args);
    Py_CLEAR(self->kept);
    return 0;
}

static void rows_dealloc(PyObject *object) {
    perfetto_rows_t *self = (perfetto_rows_t *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    rows_clear(object);
    texts_release(&self->texts);
    texts_release(&self->annotation_names);
    flows_release(&self->flows);
    PyMem_Free(self->marked);
    PyMem_Free(self->annotations);
    PyMem_Free(self->used);
    PyMem_Free(self->pending);
    PyMem_Free(self->sequences);
    PyMem_Free(self->rows);
    for (int table = 0; table < TABLES; table++)
        PyMem_Free(self->seen[table]);
    PyMem_RawFree(self->open.slices);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyType_Slot SLOTS[] = {
    {Py_tp_doc, "Rows of a Perfetto protobuf file, about 1 MiB of whole packets at a time."},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, rows_next},
    {Py_tp_traverse, rows_traverse},
    {Py_tp_clear, rows_clear},
    {Py_tp_dealloc, rows_dealloc},
    {0, NULL},
};

static PyType_Spec SPEC = {
    .name = "stepscope._native.PerfettoRows",
    .basicsize = sizeof(perfetto_rows_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = SLOTS,
};

/* ---- a new one ---- */

/* Make the tables of what each sequence has interned. */
static int make_seen(perfetto_rows_t *self) {
    size_t texts = (size_t)self->texts.count, names = (size_t)self->annotation_names.count;
    for (int table = 0; table < TABLES; table++) {
        size_t ids = table == SEEN_ANNOTATION_NAMES ? names : texts;
        self->seen[table] = PyMem_Calloc(ids ? ids : 1, sizeof(uint32_t));
        if (!self->seen[table]) {
            PyErr_NoMemory();
            return -1;
        }
    }
    return 0;
}

/* 0, or -1 with an exception set: the name for sites is none, or rows have sites and there is no name for them. */
static int check_sites(const perfetto_rows_t *self) {
    if (self->site_name && self->site_name >= (size_t)self->annotation_names.count) {
        PyErr_Format(PyExc_ValueError, "site_name: %u is no annotation name, there are %zd", self->site_name,
                     self->annotation_names.count);
        return -1;
    }
    if (self->site_name)
        return columns_ids_below(&self->columns, self->columns.site, "site", self->texts.count);
    for (Py_ssize_t row = 0; row < self->columns.rows; row++)
        if (self->columns.site[row]) {
            PyErr_Format(PyExc_ValueError, "row %zd has a site, and site_name is 0", row);
            return -1;
        }
    return 0;
}

PyDoc_STRVAR(perfetto_rows_doc, "perfetto_rows(columns, texts, sequences, args, annotation_names, *, flows=None, "
                                "site_name=0)\n--\n\n"
                                "Encode rows, one track after the other: an iterator of bytes, whole packets each.");

static PyObject *perfetto_rows(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"columns", "texts", "sequences", "args", "annotation_names", "flows", "site_name", NULL};
    PyObject *columns, *texts, *sequences, *row_args, *annotation_names, *flows = Py_None;
    unsigned int site_name = 0;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOO|$OI:perfetto_rows", names, &columns, &texts, &sequences,
                                     &row_args, &annotation_names, &flows, &site_name))
        return NULL;
    perfetto_rows_t *self = (perfetto_rows_t *)rows_type->tp_alloc(rows_type, 0);
    if (!self)
        return NULL;
    /* Nobody is to find it before it is complete. */
    PyObject_GC_UnTrack(self);
    self->site_name = site_name;
    if (columns_get(columns, &self->columns, 0) < 0 || texts_get(texts, "texts", "", "", &self->texts) < 0 ||
        texts_get(annotation_names, "annotation_names", "", "", &self->annotation_names) < 0 ||
        columns_ids_below(&self->columns, self->columns.name, "name", self->texts.count) < 0 ||
        columns_ids_below(&self->columns, self->columns.cat, "cat", self->texts.count) < 0 ||
        check_sites(self) < 0 || perfetto_get_sequences(self, sequences) < 0 || perfetto_get_rows(self) < 0 || make_seen(self) < 0 ||
        perfetto_get_annotations(self, row_args) < 0 ||
        flows_get(flows, self->columns.rows, MAX_FLOW_NAMES, 1, &self->flows) < 0 ||
        perfetto_get_marks(self) < 0)
        Py_CLEAR(self);
    else
        PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyMethodDef METHODS[] = {
    {"perfetto_rows", (PyCFunction)(void (*)(void))perfetto_rows, METH_VARARGS | METH_KEYWORDS, perfetto_rows_doc},
    {NULL, NULL, 0, NULL},
};

int perfetto_add(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &SPEC, NULL);
    if (!type)
        return -1;
    Py_XSETREF(rows_type, (PyTypeObject *)type);
    return PyModule_AddFunctions(module, METHODS);
}
