/* stepscope._native: the C core. Every call is the twin of one in stepscope.core.twin. */

#include "recorder.h"

static int refuse_subinterpreter(void) {
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) return 0;
    PyErr_SetString(PyExc_ImportError,
                    "stepscope's C core cannot be used in a subinterpreter: its records belong to the process. "
                    "Set STEPSCOPE_CORE=python to profile there.");
    return -1;
}

static int module_exec(PyObject *module) {
    if (refuse_subinterpreter() < 0) return -1;
    if (clock_add(module) < 0 || besides_add(module) < 0 || stacks_add(module) < 0) return -1;
    if (ring_add(module) < 0 || lanes_add(module) < 0 || threads_add(module) < 0) return -1;
    if (window_add(module) < 0 || points_add(module) < 0) return -1;
    if (span_add(module) < 0 || call_add(module) < 0 || decorated_add(module) < 0) return -1;
    if (calls_add(module) < 0 || calls_monitoring_add(module) < 0 || calls_profile_add(module) < 0) return -1;
    if (arrays_add(module) < 0 || columns_add(module) < 0 || paired_add(module) < 0) return -1;
    if (ops_add(module) < 0) return -1;
    if (order_add(module) < 0 || settle_add(module) < 0 || renumber_add(module) < 0 || nest_add(module) < 0) return -1;
    if (fold_add(module) < 0 || group_add(module) < 0) return -1;
    if (flows_add(module) < 0 || chrome_add(module) < 0 || perfetto_add(module) < 0) return -1;
    if (settle_counters_add(module) < 0 || settle_flows_add(module) < 0 || ids_add(module) < 0) return -1;
    if (counters_add(module) < 0 || chrome_read_add(module) < 0 || chrome_args_add(module) < 0) return -1;
    if (perfetto_read_add(module) < 0 || perfetto_take_add(module) < 0 || perfetto_pair_add(module) < 0) return -1;
    if (encode_args_add(module) < 0) return -1;
    if (trees_add(module) < 0 || labels_add(module) < 0 || paths_add(module) < 0) return -1;
    if (walk_add(module) < 0 || align_add(module) < 0 || align_common_add(module) < 0) return -1;
    if (align_unique_add(module) < 0 || align_rest_add(module) < 0 || levels_add(module) < 0) return -1;
    if (cells_add(module) < 0 || pairs_add(module) < 0 || path_numbers_add(module) < 0) return -1;
    if (disk_add(module) < 0) return -1;
    return PyModule_AddStringConstant(module, "CLOCK", "boottime");
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "stepscope._native",
    .m_doc = PyDoc_STR("The C core: the twin of stepscope.core.twin."),
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
