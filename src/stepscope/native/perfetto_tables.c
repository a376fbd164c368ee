/* What .pftrace packets refer to: texts and their ids, tracks, sequences with their clocks; and columns that grow.

   A map has two numbers for a key:

       slot    a u64 | b u64 | value u32 | used u32        found from hash(a, b) on, one after the other

   Texts are copied, each once. Nothing here needs the GIL: memory is PyMem_Raw. */

#include "perfetto_read.h"

#include <string.h>

int make_room(void *items, size_t size, size_t count, size_t *room) {
    if (likely(count < *room))
        return 0;
    size_t wanted = *room ? *room * 2 : 64;
    void **of = items;
    void *grown = wanted <= SIZE_MAX / size ? PyMem_RawRealloc(*of, wanted * size) : NULL;
    if (!grown)
        return -1;
    *of = grown;
    *room = wanted;
    return 0;
}

static uint64_t seed;

void tables_seed(uint64_t number) {
    seed = number;
}

static uint64_t mix(uint64_t value) {
    value ^= value >> 33;
    value *= 0xff51afd7ed558ccdULL;
    value ^= value >> 33;
    value *= 0xc4ceb9fe1a85ec53ULL;
    return value ^ value >> 33;
}

/* ---- pairs of numbers ---- */

static slot_t *slot_of(const map_t *map, uint64_t a, uint64_t b) {
    size_t at = (size_t)mix(a ^ mix(b ^ seed)) & (map->room - 1);
    while (map->slots[at].used && (map->slots[at].a != a || map->slots[at].b != b))
        at = (at + 1) & (map->room - 1);
    return &map->slots[at];
}

uint32_t *map_find(const map_t *map, uint64_t a, uint64_t b) {
    if (!map->room)
        return NULL;
    slot_t *slot = slot_of(map, a, b);
    return slot->used ? &slot->value : NULL;
}

static int map_grow(map_t *map) {
    map_t grown = {NULL, map->room ? map->room * 2 : 64, map->count};
    grown.slots = PyMem_RawCalloc(grown.room, sizeof *grown.slots);
    if (!grown.slots)
        return -1;
    for (size_t i = 0; i < map->room; i++)
        if (map->slots[i].used)
            *slot_of(&grown, map->slots[i].a, map->slots[i].b) = map->slots[i];
    PyMem_RawFree(map->slots);
    *map = grown;
    return 0;
}

uint32_t *map_add(map_t *map, uint64_t a, uint64_t b, uint32_t value) {
    if (map->count * 2 >= map->room && map_grow(map) < 0)
        return NULL;
    slot_t *slot = slot_of(map, a, b);
    if (!slot->used) {
        *slot = (slot_t){a, b, value, 1};
        map->count++;
    }
    return &slot->value;
}

/* ---- texts ---- */

static uint64_t hash_of(const char *at, size_t length) {
    uint64_t hash = mix(length ^ seed), word;
    for (; length >= 8; at += 8, length -= 8) {
        memcpy(&word, at, 8);
        hash = mix(hash ^ word);
    }
    word = 0;
    memcpy(&word, at, length);
    return mix(hash ^ word);
}

/* Double the places of a table whose texts are half as many. */
static int texts_grow(text_table_t *texts) {
    size_t places = texts->places ? texts->places * 2 : 256;
    uint32_t *ids = PyMem_RawCalloc(places, sizeof *ids);
    if (!ids)
        return -1;
    for (size_t id = 0; id < texts->count; id++) {
        size_t at = (size_t)texts->hashes[id] & (places - 1);
        while (ids[at])
            at = (at + 1) & (places - 1);
        ids[at] = (uint32_t)id + 1;
    }
    PyMem_RawFree(texts->ids);
    texts->ids = ids;
    texts->places = places;
    return 0;
}

/* Room for one more text in each of its columns. */
static int texts_make_room(text_table_t *texts) {
    size_t room = texts->room;
    if (texts->count == UINT32_MAX - 1)
        return -1;
    if (make_room(&texts->of, sizeof *texts->of, texts->count, &room) < 0)
        return -1;
    room = texts->room;
    if (make_room(&texts->lengths, sizeof *texts->lengths, texts->count, &room) < 0)
        return -1;
    return make_room(&texts->hashes, sizeof *texts->hashes, texts->count, &texts->room);
}

int64_t text_id(text_table_t *texts, const char *from, size_t length) {
    uint64_t hash = hash_of(from, length);
    if (texts->count * 2 >= texts->places && texts_grow(texts) < 0)
        return -1;
    size_t at = (size_t)hash & (texts->places - 1);
    for (; texts->ids[at]; at = (at + 1) & (texts->places - 1)) {
        size_t id = texts->ids[at] - 1;
        if (texts->hashes[id] == hash && texts->lengths[id] == length && !memcmp(texts->of[id], from, length))
            return (int64_t)id;
    }
    if (texts_make_room(texts) < 0)
        return -1;
    char *copy = PyMem_RawMalloc(length ? length : 1);
    if (!copy)
        return -1;
    memcpy(copy, from, length);
    texts->of[texts->count] = copy;
    texts->lengths[texts->count] = length;
    texts->hashes[texts->count] = hash;
    texts->ids[at] = (uint32_t)++texts->count;
    return (int64_t)texts->count - 1;
}

void texts_free(text_table_t *texts) {
    while (texts->count)
        PyMem_RawFree(texts->of[--texts->count]);
    PyMem_RawFree(texts->of);
    PyMem_RawFree(texts->lengths);
    PyMem_RawFree(texts->hashes);
    PyMem_RawFree(texts->ids);
    *texts = (text_table_t){0};
}

/* ---- what a scanner knows ---- */

sequence_state_t *find_sequence(const scanner_t *self, uint64_t number) {
    const uint32_t *place = map_find(&self->sequences, number, 0);
    return place ? &self->states[*place] : NULL;
}

clock_ns_t *find_clock(const scanner_t *self, uint64_t number, uint64_t id) {
    const uint32_t *place = map_find(&self->clock_places, id, number);
    return place ? &self->clocks[*place] : NULL;
}

int64_t track_number(scanner_t *self, uint64_t uuid) {
    const uint32_t *found = map_add(&self->tracks, uuid, 0, self->track_count);
    if (!found)
        return -1;
    if (*found == self->track_count)
        self->track_count++;
    return *found;
}

int intern_text(scanner_t *self, uint32_t generation, uint32_t table, uint64_t iid, const char *at, size_t length) {
    int64_t id = text_id(&self->texts, at, length);
    if (id < 0)
        return -1;
    return map_add(&self->interned, iid, (uint64_t)generation << 32 | table, (uint32_t)id) ? 0 : -1;
}

int64_t interned_text(const scanner_t *self, uint32_t generation, uint32_t table, uint64_t iid) {
    const uint32_t *id = map_find(&self->interned, iid, (uint64_t)generation << 32 | table);
    return id ? (int64_t)*id : -1;
}

/* ---- columns ---- */

static int events_grow(events_t *events) {
    size_t room = events->room;
    if (events->count >= NO_ROW - 1)
        return -1;
    if (make_room(&events->kind, sizeof *events->kind, events->count, &room) < 0)
        return -1;
    room = events->room;
    if (make_room(&events->track, sizeof *events->track, events->count, &room) < 0)
        return -1;
    room = events->room;
    if (make_room(&events->name, sizeof *events->name, events->count, &room) < 0)
        return -1;
    room = events->room;
    if (make_room(&events->cat, sizeof *events->cat, events->count, &room) < 0)
        return -1;
    room = events->room;
    if (make_room(&events->site, sizeof *events->site, events->count, &room) < 0)
        return -1;
    return make_room(&events->ts, sizeof *events->ts, events->count, &events->room);
}

int add_event(events_t *events, int64_t ts, uint8_t kind, uint32_t track, event_texts_t texts) {
    if (unlikely(events->count == events->room) && events_grow(events) < 0)
        return -1;
    size_t at = events->count++;
    events->ts[at] = ts;
    events->kind[at] = kind;
    events->track[at] = track;
    events->name[at] = texts.name;
    events->cat[at] = texts.cat;
    events->site[at] = texts.site;
    return 0;
}

int add_detail(details_t *details, detail_t detail) {
    if (make_room(&details->of, sizeof *details->of, details->count, &details->room) < 0)
        return -1;
    details->of[details->count++] = detail;
    return 0;
}

int add_flow(flow_ids_t *flows, flow_id_t point) {
    if (make_room(&flows->of, sizeof *flows->of, flows->count, &flows->room) < 0)
        return -1;
    flows->of[flows->count++] = point;
    return 0;
}

int add_count(counts_t *counts, count_t count) {
    if (make_room(&counts->of, sizeof *counts->of, counts->count, &counts->room) < 0)
        return -1;
    counts->of[counts->count++] = count;
    return 0;
}
