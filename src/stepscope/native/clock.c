/* Ticks: what a record's time is counted in.

   CLOCK_BOOTTIME where there is one, which is Perfetto's default; else the system's monotonic clock. The time-stamp
   counter costs half as much and is used where the caller says that the kernel trusts it; it is compared with
   CLOCK_BOOTTIME when a window opens and when it is sealed. A Python callable stands in for both in tests. */

#include "recorder.h"

#ifdef __linux__
#include <dlfcn.h>
#endif

int (*read_clock)(clockid_t clock, struct timespec *now) = clock_gettime;
ticks_kind_t ticks_kind = TICKS_BOOTTIME;
static PyObject *stand_in;
static tick_point_t first_point; /* when the time-stamp counter was chosen: the long base for short windows */

/* Let no trace or profile function see the stand-in: the record that it is asked for is not written yet. */
static void tracing_suspend(void) {
#if PY_VERSION_HEX >= 0x030B0000
    PyThreadState_EnterTracing(PyThreadState_Get());
#else
    PyThreadState_Get()->tracing++;
#endif
}

static void tracing_resume(void) {
#if PY_VERSION_HEX >= 0x030B0000
    PyThreadState_LeaveTracing(PyThreadState_Get());
#else
    PyThreadState_Get()->tracing--;
#endif
}

/* Ask the stand-in; a clock that fails stands still, because a span must not raise. */
uint64_t ticks_stand_in(void) {
    static uint64_t last;
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    tracing_suspend();
    PyObject *number = PyObject_CallNoArgs(stand_in);
    tracing_resume();
    if (number != NULL) {
        uint64_t ticks = PyLong_AsUnsignedLongLong(number);
        Py_DECREF(number);
        if (!PyErr_Occurred()) last = ticks;
    }
    PyErr_Clear();
    PyErr_Restore(kind, error, trace);
    return last;
}

uint64_t thread_ns(void) {
    if (ticks_kind == TICKS_PYTHON) return ticks_stand_in();
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Both clocks at one instant: of several readings the one that took least time. */
tick_point_t ticks_point(void) {
    tick_point_t best = {ticks_now(), 0};
    best.ns = best.ticks;
#ifdef HAVE_TSC
    if (ticks_kind == TICKS_TSC) {
        uint64_t least = UINT64_MAX;
        for (int i = 0; i < 32; i++) {
            uint64_t before = ticks_now(), ns = system_ns(), after = ticks_now();
            if (after - before < least) {
                least = after - before;
                best.ticks = before + least / 2;
                best.ns = ns;
            }
        }
    }
#endif
    return best;
}

tick_scale_t ticks_scale(tick_point_t opened, tick_point_t sealed) {
    tick_scale_t scale = {opened, 0};
#ifdef HAVE_TSC
    if (ticks_kind == TICKS_TSC) {
        /* Over less than 0.1 s the error of two readings is a slope; over hours the slope itself drifts. */
        tick_point_t from = sealed.ns - opened.ns >= 100000000u ? opened : first_point;
        uint64_t apart = sealed.ticks - from.ticks;
        scale.slope = apart ? (uint64_t)(((unsigned __int128)(sealed.ns - from.ns) << 32) / apart) : 1;
    }
#else
    (void)sealed;
#endif
    return scale;
}

/* use_ticks(callable or None): time spans with another clock, for tests. */
static PyObject *use_ticks(PyObject *Py_UNUSED(module), PyObject *callable) {
    static ticks_kind_t real = TICKS_BOOTTIME;
    if (ticks_kind != TICKS_PYTHON) real = ticks_kind;
    Py_CLEAR(stand_in);
    ticks_kind = real;
    if (callable != Py_None) {
        stand_in = Py_NewRef(callable);
        ticks_kind = TICKS_PYTHON;
    }
    Py_RETURN_NONE;
}

/* use_tsc(bool) -> bool: whether the time-stamp counter is used now; it is not where the compiler has none. */
static PyObject *use_tsc(PyObject *Py_UNUSED(module), PyObject *wanted) {
    int yes = PyObject_IsTrue(wanted);
    if (yes < 0) return NULL;
    if (recorder.recording) {
        PyErr_SetString(PyExc_RuntimeError, "the clock cannot change while a profile records");
        return NULL;
    }
    if (ticks_kind != TICKS_PYTHON) {
        ticks_kind = TICKS_BOOTTIME;
#ifdef HAVE_TSC
        if (yes) {
            ticks_kind = TICKS_TSC;
            first_point = ticks_point();
        }
#endif
    }
    return PyBool_FromLong(ticks_kind == TICKS_TSC);
}

static PyObject *tsc_in_use(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    return PyBool_FromLong(ticks_kind == TICKS_TSC);
}

static PyObject *now(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    return PyLong_FromUnsignedLongLong(ticks_now());
}

static PyMethodDef functions[] = {
    {"now", now, METH_NOARGS, PyDoc_STR("The clock that spans are timed with, in ticks.")},
    {"use_ticks", use_ticks, METH_O, PyDoc_STR("Time spans with another clock, for tests; None: the real one.")},
    {"tsc_in_use", tsc_in_use, METH_NOARGS, PyDoc_STR("Whether the time-stamp counter is used.")},
    {"use_tsc", use_tsc, METH_O, PyDoc_STR("Use the time-stamp counter or not; whether it is used now.")},
    {NULL, NULL, 0, NULL},
};

/* Find the kernel's own clock_gettime. What stands in for the C library's, to show a program another time, is not
   passed by: both must say the same. */
static void find_read_clock(void) {
#if defined(__linux__) && defined(RTLD_NOLOAD)
    static const char *const NAMES[] = {"__vdso_clock_gettime", "__kernel_clock_gettime"};
    void *vdso = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD), *found = NULL;
    for (size_t i = 0; vdso != NULL && found == NULL && i < sizeof NAMES / sizeof *NAMES; i++)
        found = dlsym(vdso, NAMES[i]);
    if (found == NULL) return;
    uint64_t before = system_ns();
    memcpy(&read_clock, &found, sizeof found);
    uint64_t ns = system_ns();
    read_clock = clock_gettime;
    if (ns >= before && ns <= system_ns()) memcpy(&read_clock, &found, sizeof found);
#endif
}

int clock_add(PyObject *module) {
    find_read_clock();
    return PyModule_AddFunctions(module, functions);
}
