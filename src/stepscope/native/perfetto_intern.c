/* The texts that a sequence has interned, and those that a packet interns; part of the encoder of perfetto.c.

       InternedData      62 len | (table len | 08 iid | 12 len text) ... */

#include "perfetto.h"

/* The length of an entry of InternedData, without its own field's tag and length. */
static size_t entry_length(size_t iid, size_t text_length) {
    return 1 + varint_length(iid) + 1 + varint_length(text_length) + text_length;
}

static uint8_t *put_entry(uint8_t *to, int table, size_t iid, const text_t *text) {
    to = put_varint(to, (uint64_t)table << 3 | 2);
    to = put_varint(to, entry_length(iid, text->length));
    *to++ = 0x08;
    to = put_varint(to, iid);
    *to++ = 0x12;
    to = put_varint(to, text->length);
    return put_bytes(to, text->at, text->length);
}

/* Mark an id as interned on this sequence; returns whether it was not. */
static int intern(perfetto_rows_t *self, int table, uint32_t iid) {
    uint32_t now = (uint32_t)self->track + 1;
    if (likely(self->seen[table][iid] == now))
        return 0;
    self->seen[table][iid] = now;
    return 1;
}

static size_t field_length(int table, size_t iid, size_t text_length) {
    size_t length = entry_length(iid, text_length);
    return varint_length((uint64_t)table << 3) + varint_length(length) + length;
}

interned_t intern_row(perfetto_rows_t *self, const row_t *row, const annotations_t *annotations) {
    interned_t interned = {0};
    if (intern(self, SEEN_CATEGORIES, row->cat)) {
        interned.category = &self->texts.of[row->cat];
        interned.length += field_length(CATEGORIES, row->cat, interned.category->length);
    }
    if (intern(self, SEEN_NAMES, row->name)) {
        interned.name = &self->texts.of[row->name];
        interned.length += field_length(NAMES, row->name, interned.name->length);
    }
    if (row->site && intern(self, SEEN_SITES, row->site)) {
        interned.site = &self->texts.of[row->site];
        interned.length += field_length(STRING_VALUES, row->site, interned.site->length);
    }
    if (row->site && intern(self, SEEN_ANNOTATION_NAMES, self->site_name)) {
        interned.site_name = &self->annotation_names.of[self->site_name];
        interned.length += field_length(ANNOTATION_NAMES, self->site_name, interned.site_name->length);
    }
    for (size_t i = 0; annotations && i < annotations->count; i++) {
        uint32_t iid = self->used[annotations->first + i];
        if (intern(self, SEEN_ANNOTATION_NAMES, iid)) {
            interned.length += field_length(ANNOTATION_NAMES, iid, self->annotation_names.of[iid].length);
            self->pending[interned.pending++] = iid;
        }
    }
    return interned;
}

uint8_t *put_interned(const perfetto_rows_t *self, uint8_t *to, const row_t *row, const interned_t *interned) {
    *to++ = 0x62;
    to = put_varint(to, interned->length);
    if (interned->category)
        to = put_entry(to, CATEGORIES, row->cat, interned->category);
    if (interned->name)
        to = put_entry(to, NAMES, row->name, interned->name);
    if (interned->site)
        to = put_entry(to, STRING_VALUES, row->site, interned->site);
    if (interned->site_name)
        to = put_entry(to, ANNOTATION_NAMES, self->site_name, interned->site_name);
    for (size_t i = 0; i < interned->pending; i++)
        to = put_entry(to, ANNOTATION_NAMES, self->pending[i], &self->annotation_names.of[self->pending[i]]);
    return to;
}
