/* Encoding ahead: while the caller writes one chunk of a file, a thread encodes the next.

       caller    fill 1 | write 1 | write 2 | write 3 ...
       thread             fill 2  | fill 3  | fill 4 ...

   The chunks are what they are without it: one at a time goes on from where the other has stopped. The caller offers a
   chunk to the thread and takes it back if the thread has not begun by the time that it comes for it: where all
   processors are busy, it would wait longer for a turn than for the chunk. The thread touches no Python object but the
   new bytes that it fills. What does not fill one chunk has no thread; where none can be started, the caller encodes. */

#include "ahead.h"

#include <signal.h>
#include <unistd.h>

int thread_start(pthread_t *thread, void *(*run)(void *), void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void fill(ahead_t *ahead) {
    char *start = PyBytes_AS_STRING(ahead->chunk);
    ahead->end = ahead->encoder->fill(ahead->self, start, start + PyBytes_GET_SIZE(ahead->chunk));
}

/* ---- turns ---- */

/* Let it be somebody else's turn. */
static void pass(ahead_t *ahead, turn_t turn) {
    pthread_mutex_lock(&ahead->lock);
    ahead->turn = turn;
    pthread_mutex_unlock(&ahead->lock);
    pthread_cond_signal(&ahead->turns); /* now, that who wakes up does not wait for the lock */
}

/* What the thread does: fill what it is offered, until it is over. */
static void *serve(void *argument) {
    ahead_t *ahead = argument;
    pthread_mutex_lock(&ahead->lock);
    while (ahead->turn != OVER) {
        if (ahead->turn != OFFERED) {
            pthread_cond_wait(&ahead->turns, &ahead->lock);
            continue;
        }
        ahead->turn = TAKEN;
        pthread_mutex_unlock(&ahead->lock);
        fill(ahead);
        pass(ahead, FILLED);
        pthread_mutex_lock(&ahead->lock);
    }
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

/* Take the chunk back, filled or not as it was offered; whether it is filled. */
static int take_back(ahead_t *ahead) {
    pthread_mutex_lock(&ahead->lock);
    while (ahead->turn == TAKEN)
        pthread_cond_wait(&ahead->turns, &ahead->lock);
    int filled = ahead->turn == FILLED;
    ahead->turn = NOBODYS;
    pthread_mutex_unlock(&ahead->lock);
    return filled;
}

static int start(ahead_t *ahead) {
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->turns, NULL);
    ahead->turn = NOBODYS;
    ahead->pid = getpid();
    ahead->has_thread = thread_start(&ahead->thread, serve, ahead) == 0;
    return ahead->has_thread;
}

/* ---- chunks ---- */

/* Room for what comes next; 0, or -1 with an exception. */
static int new_chunk(ahead_t *ahead, size_t bytes) {
    ahead->chunk = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)bytes);
    return ahead->chunk == NULL ? -1 : 0;
}

/* Offer the next chunk to the thread, if there is one and there can be a thread. */
static void offer(ahead_t *ahead) {
    size_t bytes = ahead->encoder->wants(ahead->self);
    if (!bytes || (!ahead->has_thread && !start(ahead)))
        return;
    if (new_chunk(ahead, bytes) < 0) {
        PyErr_Clear(); /* the caller tries again, when it has let go of the chunk before */
        return;
    }
    pass(ahead, OFFERED);
}

/* Have a chunk filled, the one that was offered or a new one; 0, or -1 with an exception. */
static int complete(ahead_t *ahead) {
    int offered = ahead->chunk != NULL;
    if (!offered && new_chunk(ahead, ahead->encoder->wants(ahead->self)) < 0)
        return -1;
    ahead->busy = 1;
    Py_BEGIN_ALLOW_THREADS
    if (!offered || !take_back(ahead))
        fill(ahead);
    Py_END_ALLOW_THREADS
    ahead->busy = 0;
    return ahead->encoder->check(ahead->self);
}

PyObject *ahead_next(ahead_t *ahead, const encoder_t *encoder, PyObject *self) {
    PyObject *chunk = NULL;
    Py_ssize_t length = 0;
    if (ahead->busy)
        return PyErr_Format(PyExc_ValueError, "%s: another thread is in the middle of a chunk", encoder->name);
    if (ahead->has_thread && ahead->pid != getpid())
        return PyErr_Format(PyExc_RuntimeError, "%s: the process was forked in the middle of it", encoder->name);
    ahead->encoder = encoder;
    ahead->self = self;
    /* What is larger than a chunk leaves the first one empty. */
    while (!length && (ahead->chunk || encoder->wants(self))) {
        Py_CLEAR(chunk);
        if (complete(ahead) < 0)
            goto failed;
        chunk = ahead->chunk;
        ahead->chunk = NULL;
        length = ahead->end - PyBytes_AS_STRING(chunk);
    }
    if (!length) {
        Py_XDECREF(chunk);
        return NULL;
    }
    offer(ahead);
    if (_PyBytes_Resize(&chunk, length) == 0)
        return chunk;

failed:
    Py_XDECREF(chunk);
    if (ahead_stop(ahead) == 0)
        encoder->finish(self);
    return NULL;
}

int ahead_stop(ahead_t *ahead) {
    int is_here = !ahead->has_thread || ahead->pid == getpid();
    if (ahead->has_thread && is_here) {
        ahead->busy = 1;
        Py_BEGIN_ALLOW_THREADS
        take_back(ahead);
        pass(ahead, OVER);
        pthread_join(ahead->thread, NULL);
        Py_END_ALLOW_THREADS
        pthread_cond_destroy(&ahead->turns);
        pthread_mutex_destroy(&ahead->lock);
        ahead->busy = ahead->has_thread = 0;
    }
    Py_CLEAR(ahead->chunk);
    return is_here ? 0 : -1;
}
