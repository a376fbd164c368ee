/* What events say besides their time, in records of their own before that of the event: what the thread has computed,
   and the calls around it (stacks.c). Their going, with policy "ring", costs the event nothing. */

#include "span.h"

void record_before(buffer_t *buffer, record_t record) {
    if (buffer->pos >= buffer->end && buffer_grow(buffer) == NULL) {
        buffer->part.dropped--; /* it is no event; the one behind it is counted */
        return;
    }
    *buffer->pos++ = record;
}

void record_besides(buffer_t *buffer, event_t event) {
    if (recorder.besides & BESIDES_STACK && event != EVENT_ENDS) record_stack(buffer);
    if (recorder.besides & BESIDES_CPU && event != EVENT_MARKS) {
        buffer_t *mine = buffer_mine();
        if (mine != NULL) record_before(buffer, (record_t){thread_ns(), (uint32_t)mine->tid, REC_CPU, 0});
    }
}

static PyObject *measure_cpu(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    if (recorder.recording) recorder.besides |= BESIDES_CPU;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"measure_cpu", measure_cpu, METH_NOARGS,
     PyDoc_STR("Measure for every span, until the window is sealed, what its thread computed meanwhile.")},
    {NULL, NULL, 0, NULL},
};

int besides_add(PyObject *module) { return PyModule_AddFunctions(module, functions); }
