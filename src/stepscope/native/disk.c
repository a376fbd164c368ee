/* The way to the disk, begun while a file is still being written; the twin of twin/disk.py.

   Handing pages to the disk takes a sixth of what copying them takes. A thread does it, one at a time in the process: a
   disk that is slow gets larger ranges, not more threads. It works on a descriptor of its own, and nobody waits for it:
   fsync at the end of the file waits for the pages. */

#include "ahead.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
    int descriptor;
    off_t start, length;
} range_t;

static atomic_int sending; /* the process that has a thread; 0: none has */

/* What goes wrong here goes wrong in fsync, which says so. */
static void send(const range_t *range) {
#if defined(SYNC_FILE_RANGE_WRITE)
    (void)sync_file_range(range->descriptor, range->start, range->length, SYNC_FILE_RANGE_WRITE);
#elif defined(POSIX_FADV_DONTNEED)
    (void)posix_fadvise(range->descriptor, range->start, range->length, POSIX_FADV_DONTNEED);
#else
    (void)range;
#endif
}

static void *send_in_thread(void *argument) {
    range_t *range = argument;
    send(range);
    close(range->descriptor);
    free(range);
    atomic_store(&sending, 0);
    return NULL;
}

/* Start the thread; 0, or -1 when there can be none. */
static int start(range_t range) {
    range_t *own = malloc(sizeof *own);
    pthread_t thread;
    if (own == NULL)
        return -1;
    *own = range;
    own->descriptor = fcntl(range.descriptor, F_DUPFD_CLOEXEC, 0);
    if (own->descriptor >= 0 && thread_start(&thread, send_in_thread, own) == 0) {
        pthread_detach(thread);
        return 0;
    }
    if (own->descriptor >= 0)
        close(own->descriptor);
    free(own);
    return -1;
}

PyDoc_STRVAR(begin_to_disk_doc, "begin_to_disk(descriptor, start, length)\n--\n\n"
                                "Send a part of a file on its way to the disk; False: not now, ask for more later.");

static PyObject *begin_to_disk(PyObject *Py_UNUSED(module), PyObject *args) {
    int descriptor, none = 0, here = (int)getpid();
    long long start_at, length;
    if (!PyArg_ParseTuple(args, "iLL:begin_to_disk", &descriptor, &start_at, &length))
        return NULL;
    if (!atomic_compare_exchange_strong(&sending, &none, here) && none == here)
        Py_RETURN_FALSE;
    atomic_store(&sending, here); /* a thread of the process that this one was forked from is not here */
    range_t range = {descriptor, (off_t)start_at, (off_t)length};
    Py_BEGIN_ALLOW_THREADS
    if (start(range) < 0) {
        send(&range);
        atomic_store(&sending, 0);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_TRUE;
}

static PyMethodDef METHODS[] = {
    {"begin_to_disk", begin_to_disk, METH_VARARGS, begin_to_disk_doc},
    {NULL, NULL, 0, NULL},
};

int disk_add(PyObject *module) { return PyModule_AddFunctions(module, METHODS); }
