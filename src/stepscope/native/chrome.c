/* The rows of a Chrome JSON file, one event a line, and behind it one for each flow that passes; the twin of
   twin/chrome.py.

   A row is pasted from pieces that were made once, and integers from tables of digits:

       ,\n{"ph":"X","name": "fwd" ,"cat": "user_annotation" , "pid":1,"tid":2 ,"ts": 0.001 ,"dur": 1.250 }
       '------ name piece -------'         '- category --'  '- track piece -------'  '----- printed ------'

   Rows are printed without the GIL straight into the bytes object that is handed out, ahead of the caller (ahead.c). */

#include "ahead.h"
#include "chrome.h"

static const char SLICE_HEAD[] = ",\n{\"ph\":\"X\",\"name\":", NAME_TAIL[] = ",\"cat\":";
static const char INSTANT_HEAD[] = ",\n{\"ph\":\"i\",\"s\":\"t\",\"name\":";
static const char TRACK_HEAD[] = ",", TRACK_TAIL[] = ",\"ts\":";
static const char DUR_HEAD[] = ",\"dur\":", ARGS_HEAD[] = ",\"args\":{", ARGS_TAIL[] = "}";
static const char FLOW_FIRST_HEAD[] = ",\n{\"ph\":\"s\",\"id\":", FLOW_STEP_HEAD[] = ",\n{\"ph\":\"t\",\"id\":";
/* "bp": the arrow ends at the row itself, not at the one after it. */
static const char FLOW_LAST_HEAD[] = ",\n{\"ph\":\"f\",\"bp\":\"e\",\"id\":";
static const struct {
    const char *at;
    size_t length;
} FLOW_HEADS[] = {
    [FLOW_FIRST] = {FLOW_FIRST_HEAD, sizeof FLOW_FIRST_HEAD - 1},
    [FLOW_STEP] = {FLOW_STEP_HEAD, sizeof FLOW_STEP_HEAD - 1},
    [FLOW_LAST] = {FLOW_LAST_HEAD, sizeof FLOW_LAST_HEAD - 1},
};
static const char FLOW_NAME[] = ",\"name\":", FLOW_CATEGORY[] = "\"flow\"";
static const char CUT_MARK[] = "\"stepscope:cut\":true", SITE_MARK[] = "\"stepscope:site\":";

enum { SLICE_HEAD_LENGTH = sizeof SLICE_HEAD - 1, NAME_TAIL_LENGTH = sizeof NAME_TAIL - 1 };
/* What a row takes beside its texts: keys and numbers are less than 200 bytes, and a paste may write beyond its end. */
enum { ROW_SLACK = 256 + TEXT_SLACK };

static PyTypeObject *rows_type;
char digits3[1000][4], digits4[10000][4];

static void fill_digits(void) {
    for (int i = 0; i < 10000; i++)
        for (int place = 3, rest = i; place >= 0; place--, rest /= 10)
            digits4[i][place] = (char)('0' + rest % 10);
    for (int i = 0; i < 1000; i++) {
        memcpy(digits3[i], digits4[i], 4);
        digits3[i][0] = '.';
    }
}

/* The iterator: what it prints from, and how far it has come. */
typedef struct {
    PyObject_HEAD
    columns_t columns;
    texts_t names, tracks;
    row_objects_t args;
    flows_t flows;
    Py_ssize_t at;      /* the next row */
    size_t point;       /* the next of flows.points */
    size_t needed;      /* bytes for that row, if it is larger than a chunk */
    Py_ssize_t invalid; /* the row at which an id was no longer valid, or -1 */
    ahead_t ahead;
} rows_t;

/* Print what stands in args: where the row's function is, unless site is NULL, then its arguments, then the mark. */
static char *print_args(char *to, PyObject *args, int cut, const text_t *site) {
    size_t length = args ? (size_t)PyBytes_GET_SIZE(args) : 0;
    if (!length && !cut && !site)
        return to;
    memcpy(to, ARGS_HEAD, sizeof ARGS_HEAD - 1);
    to += sizeof ARGS_HEAD - 1;
    if (site) {
        memcpy(to, SITE_MARK, sizeof SITE_MARK - 1);
        to = paste(to + sizeof SITE_MARK - 1, site->at + SLICE_HEAD_LENGTH,
                   site->length - SLICE_HEAD_LENGTH - NAME_TAIL_LENGTH);
    }
    if (length) {
        if (site)
            *to++ = ',';
        memcpy(to, PyBytes_AS_STRING(args), length);
        to += length;
    }
    if (cut) {
        if (length || site)
            *to++ = ',';
        memcpy(to, CUT_MARK, sizeof CUT_MARK - 1);
        to += sizeof CUT_MARK - 1;
    }
    memcpy(to, ARGS_TAIL, sizeof ARGS_TAIL - 1);
    return to + sizeof ARGS_TAIL - 1;
}

/* Print the events of the flows that pass the rows before the next one, until one may not fit before end, or none is
   left. Returns the end of what was printed. */
static char *print_flows(rows_t *self, char *to, const char *end) {
    const flows_t *flows = &self->flows;
    for (; self->point < flows->count && (Py_ssize_t)flows->points[self->point].row < self->at; self->point++) {
        const flow_point_t point = flows->points[self->point];
        const text_t name = self->names.of[flows->names[point.flow]];
        uint32_t track = self->columns.track[point.row];
        if (unlikely(track >= (size_t)self->tracks.count)) {
            self->invalid = point.row;
            break;
        }
        const text_t where = self->tracks.of[track];
        size_t needed = ROW_SLACK + name.length + where.length, head = FLOW_HEADS[point.stands].length;
        if (unlikely((size_t)(end - to) < needed)) {
            self->needed = needed;
            break;
        }
        memcpy(to, FLOW_HEADS[point.stands].at, head);
        to = print_unsigned(to + head, (uint64_t)point.flow + 1);
        memcpy(to, FLOW_NAME, sizeof FLOW_NAME - 1);
        to = paste(to + sizeof FLOW_NAME - 1, name.at + SLICE_HEAD_LENGTH, name.length - SLICE_HEAD_LENGTH);
        memcpy(to, FLOW_CATEGORY, sizeof FLOW_CATEGORY - 1);
        to = paste(to + sizeof FLOW_CATEGORY - 1, where.at, where.length);
        to = print_us(to, self->columns.ts[point.row]);
        *to++ = '}';
    }
    return to;
}

/* Print rows before stop until the next one may not fit before end. Returns the end of what was printed. What the loop
   needs is kept in locals: characters may be written over anything, as far as a compiler knows. */
static char *print_rows(rows_t *self, Py_ssize_t stop, char *to, const char *end) {
    const columns_t columns = self->columns;
    const text_t *names = self->names.of, *tracks = self->tracks.of;
    const size_t name_count = (size_t)self->names.count, track_count = (size_t)self->tracks.count;
    const uint32_t *places = self->args.of;
    tens_t tens = {0};
    Py_ssize_t row;
    for (row = self->at; row < stop; row++) {
        uint32_t name = columns.name[row], cat = columns.cat[row], track = columns.track[row];
        uint32_t site = columns.site[row];
        int64_t ts = columns.ts[row], dur = columns.dur[row];
        uint8_t kind = columns.kind[row];
        /* They were valid at the start; the columns are only held against being resized. */
        if (unlikely(name >= name_count || cat >= name_count || track >= track_count || site >= name_count)) {
            self->invalid = row;
            break;
        }
        const text_t piece = names[name], category = names[cat], where = tracks[track];
        uint32_t place = places ? places[row] : 0;
        PyObject *args = place ? self->args.objects[place - 1] : NULL;
        size_t needed = ROW_SLACK + piece.length + category.length + where.length;
        needed += args ? (size_t)PyBytes_GET_SIZE(args) : 0;
        needed += site ? names[site].length : 0;
        if (unlikely((size_t)(end - to) < needed)) {
            self->needed = needed;
            break;
        }
        if (unlikely(kind & ROW_INSTANT)) {
            memcpy(to, INSTANT_HEAD, sizeof INSTANT_HEAD - 1);
            to = paste(to + sizeof INSTANT_HEAD - 1, piece.at + SLICE_HEAD_LENGTH, piece.length - SLICE_HEAD_LENGTH);
        } else {
            to = paste(to, piece.at, piece.length);
        }
        to = paste(to, category.at + SLICE_HEAD_LENGTH, category.length - SLICE_HEAD_LENGTH - NAME_TAIL_LENGTH);
        to = paste(to, where.at, where.length);
        to = print_rising_us(to, ts, &tens);
        if (!(kind & ROW_INSTANT)) {
            memcpy(to, DUR_HEAD, sizeof DUR_HEAD - 1);
            to = print_us(to + sizeof DUR_HEAD - 1, dur);
        }
        if (unlikely(args || kind & ROW_CUT || site))
            to = print_args(to, args, kind & ROW_CUT, site ? &names[site] : NULL);
        *to++ = '}';
    }
    self->at = row;
    return to;
}

static int is_finished(const rows_t *self) {
    return self->at >= self->columns.rows && self->point >= self->flows.count;
}

/* Print rows, and behind each the flows that pass it, until a chunk is full, an id is invalid or all is printed. */
static char *rows_fill(PyObject *object, char *to, const char *end) {
    rows_t *self = (rows_t *)object;
    while (!is_finished(self)) {
        to = print_flows(self, to, end);
        int passed = self->point < self->flows.count;
        Py_ssize_t next = passed ? (Py_ssize_t)self->flows.points[self->point].row : self->columns.rows - 1;
        if (next < self->at) /* they did not fit */
            break;
        to = print_rows(self, next + 1, to, end);
        if (self->at <= next)
            break;
    }
    return to;
}

static size_t rows_wants(const PyObject *object) {
    const rows_t *self = (const rows_t *)object;
    if (is_finished(self))
        return 0;
    return self->needed > CHUNK_BYTES ? self->needed : CHUNK_BYTES;
}

static int rows_check(const PyObject *object) {
    const rows_t *self = (const rows_t *)object;
    if (self->invalid < 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "row %zd: its ids were changed while it was to be printed", self->invalid);
    return -1;
}

static void rows_finish(PyObject *object) {
    rows_t *self = (rows_t *)object;
    self->at = self->columns.rows;
    self->point = self->flows.count;
}

static const encoder_t ENCODER = {"chrome_rows", rows_fill, rows_wants, rows_check, rows_finish};

static PyObject *rows_next(PyObject *object) { return ahead_next(&((rows_t *)object)->ahead, &ENCODER, object); }

static int rows_traverse(PyObject *object, visitproc visit, void *arg) {
    rows_t *self = (rows_t *)object;
    Py_VISIT(Py_TYPE(object));
    int status = columns_visit(&self->columns, visit, arg);
    return status ? status : row_objects_visit(&self->args, visit, arg);
}

static int rows_clear(PyObject *object) {
    rows_t *self = (rows_t *)object;
    (void)ahead_stop(&self->ahead);
    rows_finish(object);
    columns_release(&self->columns);
    texts_release(&self->names);
    texts_release(&self->tracks);
    row_objects_release(&self->args);
    flows_release(&self->flows);
    return 0;
}

static void rows_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    rows_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyType_Slot SLOTS[] = {
    {Py_tp_doc, "Rows of a Chrome JSON file, about 1 MiB at a time."},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, rows_next},
    {Py_tp_traverse, rows_traverse},
    {Py_tp_clear, rows_clear},
    {Py_tp_dealloc, rows_dealloc},
    {0, NULL},
};

static PyType_Spec SPEC = {
    .name = "stepscope._native.ChromeRows",
    .basicsize = sizeof(rows_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = SLOTS,
};

/* 0, or -1 with an exception set: some row's args are not bytes. */
static int check_args(const row_objects_t *args) {
    for (Py_ssize_t i = 0; i < args->count; i++)
        if (!PyBytes_Check(args->objects[i])) {
            PyErr_Format(PyExc_TypeError, "args: values must be bytes, not %.100s", Py_TYPE(args->objects[i])->tp_name);
            return -1;
        }
    return 0;
}

PyDoc_STRVAR(chrome_rows_doc, "chrome_rows(columns, texts, tracks, args, flows=None)\n--\n\n"
                              "Print rows, each behind a comma and a newline: an iterator of bytes.");

static PyObject *chrome_rows(PyObject *module, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"columns", "texts", "tracks", "args", "flows", NULL};
    PyObject *columns, *texts, *tracks, *row_args, *flows = Py_None;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO|O:chrome_rows", names, &columns, &texts, &tracks, &row_args,
                                     &flows))
        return NULL;
    rows_t *self = (rows_t *)rows_type->tp_alloc(rows_type, 0);
    if (!self)
        return NULL;
    /* Nobody is to find it before it is complete. */
    PyObject_GC_UnTrack(self);
    self->invalid = -1;
    if (columns_get(columns, &self->columns, 0) < 0 ||
        texts_get(texts, "texts", SLICE_HEAD, NAME_TAIL, &self->names) < 0 ||
        texts_get(tracks, "tracks", TRACK_HEAD, TRACK_TAIL, &self->tracks) < 0 ||
        row_objects_get(row_args, "args", self->columns.rows, &self->args) < 0 || check_args(&self->args) < 0 ||
        flows_get(flows, self->columns.rows, self->names.count, 0, &self->flows) < 0 ||
        columns_ids_below(&self->columns, self->columns.name, "name", self->names.count) < 0 ||
        columns_ids_below(&self->columns, self->columns.cat, "cat", self->names.count) < 0 ||
        columns_ids_below(&self->columns, self->columns.site, "site", self->names.count) < 0 ||
        columns_ids_below(&self->columns, self->columns.track, "track", self->tracks.count) < 0)
        Py_CLEAR(self);
    else
        PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyMethodDef METHODS[] = {
    {"chrome_rows", (PyCFunction)(void (*)(void))chrome_rows, METH_VARARGS | METH_KEYWORDS, chrome_rows_doc},
    {NULL, NULL, 0, NULL},
};

int chrome_add(PyObject *module) {
    fill_digits();
    PyObject *type = PyType_FromModuleAndSpec(module, &SPEC, NULL);
    if (!type)
        return -1;
    Py_XSETREF(rows_type, (PyTypeObject *)type);
    return PyModule_AddFunctions(module, METHODS);
}
