/* Call stacks: where an event happens, as a text that is made once for each place.

   A record names the text by its id among the window's labels, and stands before the record it belongs to. What is
   walked is compared with the stacks there are by its code objects and instructions, so that a stack that has been met
   before costs no text:

       slot   hash | depth | text | its id, good in a registry | depth x (code, instruction) */

#include "span.h"

#include <frameobject.h>
#include <stdlib.h>

enum { MAX_FRAMES = 64 }; /* as core/stacks.py */
#define SLOT_BITS 12

typedef struct {
    PyCodeObject *code; /* strong where it is kept */
    int at;             /* the instruction; before 3.11 the line */
} place_t;

typedef struct {
    uint64_t hash;
    size_t depth;
    place_t *places;
    PyObject *text;
    uint32_t id, registry;
} slot_t;

static slot_t slots[1 << SLOT_BITS]; /* by hash; the last one that came has the slot */
static PyObject *stack_text;         /* stepscope.core.stacks.stack_text */

static inline int place_of(PyFrameObject *frame) {
#if PY_VERSION_HEX >= 0x030B0000
    return PyFrame_GetLasti(frame);
#else
    return PyFrame_GetLineNumber(frame);
#endif
}

static inline int line_of(const place_t *place) {
#if PY_VERSION_HEX >= 0x030B0000
    return PyCode_Addr2Line(place->code, place->at);
#else
    return place->at;
#endif
}

static void places_drop(place_t *places, size_t depth) {
    for (size_t i = 0; i < depth; i++) Py_DECREF(places[i].code);
}

/* Walk the calling thread's frames, innermost first; how many there are, each with a reference to its code. */
static size_t stack_walk(place_t *places, uint64_t *hash) {
    PyFrameObject *frame = PyThreadState_GetFrame(PyThreadState_Get());
    size_t depth = 0;
    *hash = 0x9E3779B97F4A7C15u;
    while (frame != NULL && depth < MAX_FRAMES) {
        place_t *place = &places[depth++];
        *place = (place_t){PyFrame_GetCode(frame), place_of(frame)};
        *hash = (*hash ^ (uint64_t)(uintptr_t)place->code ^ (uint64_t)(uint32_t)place->at << 48) * 0x9E3779B97F4A7C15u;
        *hash ^= *hash >> 29;
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    Py_XDECREF(frame);
    return depth;
}

static int slot_is(const slot_t *slot, uint64_t hash, const place_t *places, size_t depth) {
    if (slot->hash != hash || slot->depth != depth || slot->text == NULL) return 0;
    for (size_t i = 0; i < depth; i++)
        if (slot->places[i].code != places[i].code || slot->places[i].at != places[i].at) return 0;
    return 1;
}

/* The stack in words; NULL with an exception. */
static PyObject *text_of(const place_t *places, size_t depth) {
    PyObject *frames = PyList_New((Py_ssize_t)depth);
    for (size_t i = 0; frames != NULL && i < depth; i++) {
        PyCodeObject *code = places[i].code;
#if PY_VERSION_HEX >= 0x030B0000
        PyObject *name = code->co_qualname;
#else
        PyObject *name = code->co_name;
#endif
        PyObject *frame = Py_BuildValue("(OiO)", code->co_filename, line_of(&places[i]), name);
        if (frame == NULL)
            Py_CLEAR(frames);
        else
            PyList_SET_ITEM(frames, (Py_ssize_t)i, frame);
    }
    PyObject *text = frames == NULL ? NULL : PyObject_CallOneArg(stack_text, frames);
    Py_XDECREF(frames);
    return text;
}

/* Keep a stack in its slot, which takes over the references to its codes and text; 0, or -1 without memory. */
static int slot_keep(slot_t *slot, uint64_t hash, const place_t *places, size_t depth, PyObject *text) {
    place_t *kept = malloc((depth ? depth : 1) * sizeof *kept);
    if (kept == NULL) return -1;
    memcpy(kept, places, depth * sizeof *kept);
    slot_t old = *slot;
    *slot = (slot_t){hash, depth, kept, text, 0, 0};
    if (old.text != NULL) {
        places_drop(old.places, old.depth);
        free(old.places);
        Py_DECREF(old.text);
    }
    return 0;
}

/* The slot of the calling thread's stack; NULL: no memory, or an interrupt came. */
static slot_t *stack_slot(void) {
    place_t places[MAX_FRAMES];
    uint64_t hash;
    size_t depth = stack_walk(places, &hash);
    slot_t *slot = &slots[hash >> (64 - SLOT_BITS)];
    if (!slot_is(slot, hash, places, depth)) {
        PyObject *text = text_of(places, depth); /* runs Python code, which may fill the slot */
        if (text != NULL && slot_keep(slot, hash, places, depth, text) == 0) return slot;
        program_error_clear();
        Py_XDECREF(text);
        slot = NULL;
    }
    places_drop(places, depth);
    return slot;
}

void record_stack(buffer_t *buffer) {
    PyObject *kind, *error, *trace;
    uint32_t window = recorder.window;
    PyErr_Fetch(&kind, &error, &trace);
    slot_t *slot = stack_slot();
    PyErr_Restore(kind, error, trace);
    if (slot == NULL || !recorder.recording || recorder.window != window || thread_slot.buffer != buffer) return;
    if (PyUnicode_GET_LENGTH(slot->text) == 0) return;
    if (slot->registry != recorder.registry) {
        int64_t id = label_id(slot->text);
        if (id < 0) return; /* no room: the event has no stack */
        slot->id = (uint32_t)id;
        slot->registry = recorder.registry;
    }
    record_before(buffer, (record_t){0, slot->id, REC_STACK, 0});
}

static PyObject *note_stacks(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    if (recorder.recording) recorder.besides |= BESIDES_STACK;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"note_stacks", note_stacks, METH_NOARGS,
     PyDoc_STR("Note for every span and instant, until the window is sealed, the calls around it.")},
    {NULL, NULL, 0, NULL},
};

int stacks_add(PyObject *module) {
    Py_XSETREF(stack_text, imported("stepscope.core.stacks", "stack_text"));
    if (stack_text == NULL) return -1;
    return PyModule_AddFunctions(module, functions);
}
