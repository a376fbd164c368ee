/* TrackEventScanner: the scanner of .pftrace packets as Python sees it; the twin of twin/perfetto_read.py.

   scan runs without the GIL; no other method may run meanwhile, which `busy` sees to. */

#include "perfetto_read.h"

#include <structmember.h>

static PyObject *stop_type; /* stepscope.core.events.Stop */

/* 0, or -1 with an exception set: another thread is scanning. */
static int check_idle(const scanner_t *self) {
    if (!self->busy)
        return 0;
    PyErr_SetString(PyExc_ValueError, "the scanner is scanning in another thread");
    return -1;
}

/* None, or NULL with a MemoryError. */
static PyObject *none_if(int done) {
    return done ? Py_NewRef(Py_None) : PyErr_NoMemory();
}

/* ---- what the caller finds in other packets ---- */

/* A sequence's state, made if there is none; NULL with an exception. */
static sequence_state_t *sequence_of(scanner_t *self, unsigned long long number) {
    sequence_state_t *found = find_sequence(self, number);
    if (found)
        return found;
    uint32_t place = (uint32_t)self->state_count;
    if (make_room(&self->states, sizeof *self->states, self->state_count, &self->state_room) < 0 ||
        !map_add(&self->sequences, number, 0, place)) {
        PyErr_NoMemory();
        return NULL;
    }
    self->states[place] = (sequence_state_t){0};
    self->state_count++;
    return &self->states[place];
}

static PyObject *set_sequence(scanner_t *self, PyObject *args) {
    unsigned long long number, clock;
    unsigned int generation, track;
    int valid;
    if (!PyArg_ParseTuple(args, "KIpIK:sequence", &number, &generation, &valid, &track, &clock) || check_idle(self) < 0)
        return NULL;
    sequence_state_t *sequence = sequence_of(self, number);
    if (!sequence)
        return NULL;
    sequence->generation = generation;
    sequence->valid = valid;
    sequence->track = track;
    sequence->clock = clock;
    Py_RETURN_NONE;
}

static PyObject *set_clock(scanner_t *self, PyObject *args) {
    unsigned long long number, id;
    long long unit_ns, last;
    int incremental;
    if (!PyArg_ParseTuple(args, "KKLpL:set_clock", &number, &id, &unit_ns, &incremental, &last) || check_idle(self) < 0)
        return NULL;
    clock_ns_t *clock = find_clock(self, number, id);
    if (!clock) {
        if (make_room(&self->clocks, sizeof *clock, self->clock_count, &self->clock_room) < 0 ||
            !map_add(&self->clock_places, id, number, (uint32_t)self->clock_count))
            return PyErr_NoMemory();
        clock = &self->clocks[self->clock_count++];
    }
    *clock = (clock_ns_t){.epoch = UINT64_MAX, .unit_ns = unit_ns, .last = last, .incremental = incremental};
    Py_RETURN_NONE;
}

static PyObject *map_clock(scanner_t *self, PyObject *args) {
    unsigned long long number, id;
    long long lowest, highest, offset;
    if (!PyArg_ParseTuple(args, "KKLLL:map_clock", &number, &id, &lowest, &highest, &offset) || check_idle(self) < 0)
        return NULL;
    clock_ns_t *clock = find_clock(self, number, id);
    if (!clock)
        return PyErr_Format(PyExc_KeyError, "%llu", id);
    int64_t sum;
    if (lowest <= highest &&
        (__builtin_add_overflow(lowest, offset, &sum) || __builtin_add_overflow(highest, offset, &sum))) {
        PyErr_SetString(PyExc_OverflowError, "lowest or highest + offset does not fit 64 bits");
        return NULL;
    }
    clock->lowest = lowest;
    clock->highest = highest;
    clock->offset = offset;
    clock->epoch = self->epoch;
    Py_RETURN_NONE;
}

static PyObject *unmap_clocks(scanner_t *self, PyObject *Py_UNUSED(none)) {
    if (check_idle(self) < 0)
        return NULL;
    self->epoch++;
    Py_RETURN_NONE;
}

static PyObject *advance(scanner_t *self, PyObject *args) {
    unsigned long long number, id, time;
    if (!PyArg_ParseTuple(args, "KKK:advance", &number, &id, &time) || check_idle(self) < 0)
        return NULL;
    clock_ns_t *clock = find_clock(self, number, id);
    if (!clock)
        Py_RETURN_NONE;
    clock->last = (int64_t)(time * (uint64_t)clock->unit_ns + (clock->incremental ? (uint64_t)clock->last : 0));
    return PyLong_FromLongLong(clock->last);
}

static PyObject *get_text(scanner_t *self, PyObject *text) {
    if (!PyBytes_Check(text))
        return PyErr_Format(PyExc_TypeError, "a text must be bytes, not %.100s", Py_TYPE(text)->tp_name);
    if (check_idle(self) < 0)
        return NULL;
    int64_t id = text_id(&self->texts, PyBytes_AS_STRING(text), (size_t)PyBytes_GET_SIZE(text));
    return id < 0 ? PyErr_NoMemory() : PyLong_FromLongLong(id);
}

static PyObject *text_of(scanner_t *self, PyObject *number) {
    size_t id = PyLong_AsSize_t(number);
    if (PyErr_Occurred() || check_idle(self) < 0)
        return NULL;
    if (id >= self->texts.count)
        return PyErr_Format(PyExc_IndexError, "text %zu: there are %zu", id, self->texts.count);
    return PyBytes_FromStringAndSize(self->texts.of[id], (Py_ssize_t)self->texts.lengths[id]);
}

static PyObject *intern(scanner_t *self, PyObject *args) {
    unsigned int generation, table;
    unsigned long long iid;
    const char *text;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(args, "IIKy#:intern", &generation, &table, &iid, &text, &length) || check_idle(self) < 0)
        return NULL;
    return none_if(intern_text(self, generation, table, iid, text, (size_t)length) == 0);
}

static PyObject *interned(scanner_t *self, PyObject *args) {
    unsigned int generation, table;
    unsigned long long iid;
    if (!PyArg_ParseTuple(args, "IIK:interned", &generation, &table, &iid) || check_idle(self) < 0)
        return NULL;
    return PyLong_FromLongLong(interned_text(self, generation, table, iid));
}

static PyObject *get_track(scanner_t *self, PyObject *number) {
    unsigned long long uuid = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred() || check_idle(self) < 0)
        return NULL;
    int64_t track = track_number(self, uuid);
    return track < 0 ? PyErr_NoMemory() : PyLong_FromLongLong(track);
}

static PyObject *new_track(scanner_t *self, PyObject *Py_UNUSED(none)) {
    if (check_idle(self) < 0)
        return NULL;
    return PyLong_FromUnsignedLong(self->track_count++);
}

static PyObject *uuids(scanner_t *self, PyObject *Py_UNUSED(none)) {
    PyObject *found = check_idle(self) < 0 ? NULL : PyList_New(0);
    for (size_t i = 0; found && i < self->tracks.room; i++) {
        const slot_t *slot = &self->tracks.slots[i];
        PyObject *pair = slot->used ? Py_BuildValue("KI", slot->a, slot->value) : NULL;
        if (slot->used && (!pair || PyList_Append(found, pair) < 0))
            Py_CLEAR(found);
        Py_XDECREF(pair);
    }
    return found;
}

static PyObject *put_event(scanner_t *self, PyObject *args) {
    long long ts;
    unsigned char kind;
    unsigned int track, name, cat;
    if (!PyArg_ParseTuple(args, "LbIII:event", &ts, &kind, &track, &name, &cat) || check_idle(self) < 0)
        return NULL;
    if (add_event(&self->events, ts, kind, track, (event_texts_t){name, cat, 0}) < 0)
        return PyErr_NoMemory();
    return PyLong_FromSize_t(self->events.count - 1);
}

static PyObject *put_detail(scanner_t *self, PyObject *args) {
    unsigned int event, generation;
    unsigned long long start, stop;
    if (!PyArg_ParseTuple(args, "IKKI:detail", &event, &start, &stop, &generation) || check_idle(self) < 0)
        return NULL;
    return none_if(add_detail(&self->details, (detail_t){event, self->buffer, generation, start, stop}) == 0);
}

static PyObject *put_flow(scanner_t *self, PyObject *args) {
    unsigned int event;
    unsigned long long flow;
    int last;
    if (!PyArg_ParseTuple(args, "IKp:flow", &event, &flow, &last) || check_idle(self) < 0)
        return NULL;
    return none_if(add_flow(&self->flows, (flow_id_t){flow, event, (uint8_t)last}) == 0);
}

static PyObject *put_count(scanner_t *self, PyObject *args) {
    long long ts;
    double value;
    unsigned int track, generation;
    if (!PyArg_ParseTuple(args, "LdII:count", &ts, &value, &track, &generation) || check_idle(self) < 0)
        return NULL;
    return none_if(add_count(&self->counts, (count_t){ts, value, track, generation}) == 0);
}

/* ---- what was found ---- */

static PyObject *take(scanner_t *self, PyObject *Py_UNUSED(none)) {
    return check_idle(self) < 0 ? NULL : take_scanned(self);
}

PyDoc_STRVAR(scan_doc, "scan(data, at, buffer)\n--\n\n"
                       "Read packets until the end, or to one that is the caller's.");

static PyObject *scan(scanner_t *self, PyObject *args) {
    Py_buffer data;
    Py_ssize_t at;
    unsigned int buffer;
    stop_t stop;
    if (!PyArg_ParseTuple(args, "y*nI:scan", &data, &at, &buffer))
        return NULL;
    PyObject *result = NULL;
    int status;
    if (check_idle(self) < 0)
        goto done;
    if (at < 0 || at > data.len) {
        PyErr_Format(PyExc_ValueError, "at must be from 0 to %zd, not %zd", data.len, at);
        goto done;
    }
    self->busy = 1;
    self->buffer = buffer;
    Py_BEGIN_ALLOW_THREADS
    status = scan_packets(self, data.buf, (size_t)at, (size_t)data.len, &stop);
    Py_END_ALLOW_THREADS
    self->busy = 0;
    if (status == SCAN_NO_MEMORY)
        PyErr_NoMemory();
    else
        result = PyObject_CallFunction(stop_type, "innn", status, (Py_ssize_t)stop.at, (Py_ssize_t)stop.start,
                                       (Py_ssize_t)stop.stop);

done:
    PyBuffer_Release(&data);
    return result;
}

/* ---- the type ---- */

static PyObject *scanner_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":TrackEventScanner", names))
        return NULL;
    scanner_t *self = (scanner_t *)type->tp_alloc(type, 0);
    if (self && (text_id(&self->texts, "", 0) < 0 || text_id(&self->texts, SITE_KEY, sizeof SITE_KEY - 1) < 0)) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void scanner_dealloc(scanner_t *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyMem_RawFree(self->events.ts);
    PyMem_RawFree(self->events.kind);
    PyMem_RawFree(self->events.track);
    PyMem_RawFree(self->events.name);
    PyMem_RawFree(self->events.cat);
    PyMem_RawFree(self->events.site);
    PyMem_RawFree(self->details.of);
    PyMem_RawFree(self->flows.of);
    PyMem_RawFree(self->counts.of);
    texts_free(&self->texts);
    PyMem_RawFree(self->interned.slots);
    PyMem_RawFree(self->tracks.slots);
    PyMem_RawFree(self->sequences.slots);
    PyMem_RawFree(self->clock_places.slots);
    PyMem_RawFree(self->clocks);
    PyMem_RawFree(self->states);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef METHODS[] = {
    {"sequence", (PyCFunction)set_sequence, METH_VARARGS, "Say what packets of a sequence have in common."},
    {"set_clock", (PyCFunction)set_clock, METH_VARARGS, "Make a clock of a sequence anew."},
    {"map_clock", (PyCFunction)map_clock, METH_VARARGS, "Say where times on a clock are on the trace's."},
    {"unmap_clocks", (PyCFunction)unmap_clocks, METH_NOARGS, "Forget what map_clock has said."},
    {"advance", (PyCFunction)advance, METH_VARARGS, "The ns of a packet's time on a clock of its sequence."},
    {"text", (PyCFunction)get_text, METH_O, "The id of a text."},
    {"text_of", (PyCFunction)text_of, METH_O, "The text of an id."},
    {"intern", (PyCFunction)intern, METH_VARARGS, "Note an entry of InternedData."},
    {"interned", (PyCFunction)interned, METH_VARARGS, "The text id of an entry; -1: there is none."},
    {"track", (PyCFunction)get_track, METH_O, "The number of a track."},
    {"new_track", (PyCFunction)new_track, METH_NOARGS, "The number of a track without a uuid."},
    {"uuids", (PyCFunction)uuids, METH_NOARGS, "The uuid and number of each track that has one."},
    {"event", (PyCFunction)put_event, METH_VARARGS, "Add an event; returns its number."},
    {"detail", (PyCFunction)put_detail, METH_VARARGS, "Note where an event stands."},
    {"flow", (PyCFunction)put_flow, METH_VARARGS, "Add a point of a flow."},
    {"count", (PyCFunction)put_count, METH_VARARGS, "Add a value of a counter."},
    {"take", (PyCFunction)take, METH_NOARGS, "All that was found."},
    {"scan", (PyCFunction)scan, METH_VARARGS, scan_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef MEMBERS[] = {
    {"packets", T_ULONGLONG, offsetof(scanner_t, packets), READONLY, "How many packets were seen."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot SLOTS[] = {
    {Py_tp_doc, "Reads packets into columns, and keeps what they refer to."},
    {Py_tp_new, scanner_new},
    {Py_tp_dealloc, scanner_dealloc},
    {Py_tp_methods, METHODS},
    {Py_tp_members, MEMBERS},
    {0, NULL},
};

static PyType_Spec SPEC = {
    .name = "stepscope._native.TrackEventScanner",
    .basicsize = sizeof(scanner_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = SLOTS,
};

int perfetto_read_add(PyObject *module) {
    PyObject *stop = imported("stepscope.core.events", "Stop");
    PyObject *type = stop ? PyType_FromSpec(&SPEC) : NULL;
    PyObject *name = type ? PyUnicode_FromString(SPEC.name) : NULL;
    Py_hash_t hash = name ? PyObject_Hash(name) : -1; /* another one in every process */
    tables_seed((uint64_t)hash);
    Py_XDECREF(name);
    if (hash == -1)
        Py_CLEAR(type);
    int status = type ? PyModule_AddObjectRef(module, "TrackEventScanner", type) : -1;
    Py_XDECREF(type);
    if (status == 0)
        Py_XSETREF(stop_type, Py_NewRef(stop));
    Py_XDECREF(stop);
    return status;
}
