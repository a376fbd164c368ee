/* Numbers for byte strings, in order of first appearance: texts, and pairs of ids.

   The bytes stand one behind the other in a block; beside them a hash table of their places:

       block     fwd|user_annotation|bwd|...          starts    0 3 18 21 ...          slots    1 + number, or 0: free

   Hashes are Python's, which no file can foresee: it cannot make all its texts meet in one slot. Memory is PyMem_Raw's. */

#include "chrome_read.h"

#include <string.h>

void keys_free(keys_t *keys) {
    PyMem_RawFree(keys->block);
    PyMem_RawFree(keys->starts);
    PyMem_RawFree(keys->slots);
    PyMem_RawFree(keys->hashes);
    *keys = (keys_t){0};
}

/* Room for twice as many keys; 0, or -1 when there is no memory. */
static int keys_grow(keys_t *keys) {
    size_t capacity = keys->capacity ? keys->capacity * 2 : 256, slot_count = capacity * 2;
    size_t *starts = PyMem_RawRealloc(keys->starts, (capacity + 1) * sizeof *starts);
    if (!starts)
        return -1;
    keys->starts = starts;
    starts[keys->count] = keys->used;
    Py_hash_t *hashes = PyMem_RawRealloc(keys->hashes, capacity * sizeof *hashes);
    if (!hashes)
        return -1;
    keys->hashes = hashes;
    uint32_t *slots = PyMem_RawCalloc(slot_count, sizeof *slots);
    if (!slots)
        return -1;
    for (size_t number = 0; number < keys->count; number++) {
        size_t slot = (size_t)hashes[number] & (slot_count - 1);
        while (slots[slot])
            slot = (slot + 1) & (slot_count - 1);
        slots[slot] = (uint32_t)number + 1;
    }
    PyMem_RawFree(keys->slots);
    keys->slots = slots;
    keys->slot_count = slot_count;
    keys->capacity = capacity;
    return 0;
}

/* Append a key's bytes to the block; 0, or -1 when there is no memory. */
static int keys_append(keys_t *keys, const void *key, size_t length) {
    if (!keys->block || keys->room - keys->used < length) {
        size_t room = (keys->room + length) * 2 + 64;
        char *block = PyMem_RawRealloc(keys->block, room);
        if (!block)
            return -1;
        keys->block = block;
        keys->room = room;
    }
    if (length)
        memcpy(keys->block + keys->used, key, length);
    keys->used += length;
    return 0;
}

int64_t key_number(keys_t *keys, const void *key, size_t length) {
    if (keys->count == keys->capacity && (keys->count > MAX_ID || keys_grow(keys) < 0))
        return -1;
    Py_hash_t hash = PyHash_GetFuncDef()->hash(key, (Py_ssize_t)length);
    size_t slot = (size_t)hash & (keys->slot_count - 1);
    for (; keys->slots[slot]; slot = (slot + 1) & (keys->slot_count - 1)) {
        size_t number = keys->slots[slot] - 1;
        if (keys->hashes[number] == hash && key_length(keys, number) == length &&
            !memcmp(keys->block + keys->starts[number], key, length))
            return (int64_t)number;
    }
    if (keys_append(keys, key, length) < 0)
        return -1;
    keys->hashes[keys->count] = hash;
    keys->slots[slot] = (uint32_t)++keys->count;
    keys->starts[keys->count] = keys->used;
    return (int64_t)keys->count - 1;
}

int64_t key_number_near(keys_t *keys, const void *key, size_t length, int64_t before) {
    if (before >= 0 && key_length(keys, (size_t)before) == length &&
        !memcmp(keys->block + keys->starts[before], key, length))
        return before;
    return key_number(keys, key, length);
}

