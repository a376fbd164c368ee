/* The places of each key in a list; table.h. */

#include "table.h"

static inline uint32_t *slot_of(const table_t *table, uint64_t key) {
    uint64_t bits = key * UINT64_C(0x9E3779B97F4A7C15);
    size_t slot = (size_t)(bits ^ (bits >> 32)) & (table->room - 1);
    while (table->slots[slot] && table->keys[table->slots[slot] - 1] != key)
        slot = (slot + 1) & (table->room - 1);
    return &table->slots[slot];
}

int table_make(table_t *table, const uint64_t *keys, size_t count) {
    size_t room = 16;
    while (room < 2 * count)
        room *= 2;
    *table = (table_t){.keys = keys, .room = room};
    table->slots = PyMem_RawCalloc(room + 2 * count, sizeof *table->slots);
    if (!table->slots)
        return -1;
    table->next = table->slots + room;
    table->left = table->next + count;
    for (size_t at = count; at-- > 0;) {
        uint32_t *slot = slot_of(table, keys[at]);
        table->next[at] = *slot;
        table->left[at] = *slot = (uint32_t)at + 1;
    }
    return 0;
}

void table_free(table_t *table) {
    PyMem_RawFree(table->slots);
}

int64_t table_find(const table_t *table, uint64_t key) {
    return (int64_t)*slot_of(table, key) - 1;
}

int64_t table_take(table_t *table, uint64_t key) {
    int64_t first = table_find(table, key);
    if (first < 0 || !table->left[first])
        return -1;
    int64_t taken = (int64_t)table->left[first] - 1;
    table->left[first] = table->next[taken];
    return taken;
}
