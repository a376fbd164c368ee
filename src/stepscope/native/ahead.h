/* The next chunk of a file, encoded by a thread while the one before it is written; see ahead.c. */

#ifndef STEPSCOPE_AHEAD_H
#define STEPSCOPE_AHEAD_H

#include "native.h"

#include <pthread.h>
#include <sys/types.h>

/* What an iterator of chunks does itself. */
typedef struct {
    const char *name; /* errors call it that */
    /* Encode from where it stands until what comes next may not fit before end, nothing is left, or an error is met;
       the end of what was written. Runs without the GIL, in any thread. */
    char *(*fill)(PyObject *self, char *to, const char *end);
    size_t (*wants)(const PyObject *self); /* bytes for the next chunk; 0: nothing is left */
    int (*check)(const PyObject *self);    /* 0, or -1 with an exception set: the last fill met an error */
    void (*finish)(PyObject *self);        /* let nothing be left */
} encoder_t;

/* Whose turn it is at the chunk. */
typedef enum { NOBODYS, OFFERED, TAKEN, FILLED, OVER } turn_t;

/* A chunk that is being made; zeroed, there is none. */
typedef struct {
    const encoder_t *encoder;
    PyObject *self, *chunk; /* self is borrowed: it is what this is part of */
    char *end;              /* of what was written to the chunk */
    int busy;               /* a thread waits for the chunk, or fills it, without the GIL */
    int has_thread;         /* in the process pid */
    pid_t pid;
    pthread_t thread;
    pthread_mutex_t lock; /* of the turn; what is above is whose turn it is */
    pthread_cond_t turns; /* is signalled when it changes */
    turn_t turn;
} ahead_t;

/* The next chunk; NULL when nothing is left, or with an exception. */
PyObject *ahead_next(ahead_t *ahead, const encoder_t *encoder, PyObject *self);
/* End the thread, if there is one, and forget its chunk. 0: what self has is its own again; -1: the thread was left
   behind by a fork, in the middle of something. */
int ahead_stop(ahead_t *ahead);

/* Start a thread that no signal of the program's interrupts; 0, or an error number. The C core's other threads, in
   touch.c and disk.c, are started by it, too. */
int thread_start(pthread_t *thread, void *(*run)(void *), void *argument);

#endif
