/* The packets of a .pftrace file, read as fast as they come; the twin of twin/perfetto_read.py, which draws them.

   Any bytes may come: whatever is read is checked against the end of what it is in. What a packet refers to is noted
   before it is known whether the packet is read here; to note it again changes nothing. */

#include "perfetto_read.h"
#include "protobuf.h"

#include <string.h>

enum { CATEGORIES = 1, NAMES = 2, ANNOTATION_NAMES = 3, STRING_VALUES = 29 };
enum { FUNCTIONS = 5, STACKS = 7, FILES = 18 }; /* 6: frames */
enum { NEEDS_STATE = 2 };

/* Why a message is not read here, or READ. */
typedef enum { READ, OTHER, NO_MEMORY } outcome_t;

/* A TrackEvent as it is parsed. */
typedef struct {
    uint64_t kind;
    int64_t name, cat, track, site;
    int cats, annotated, has_value;
    double value;
    size_t first_flow; /* in self->flows, without their event as yet */
} event_t;

/* A packet as it is parsed. */
typedef struct {
    uint64_t time, clock, sequence, flags;
    int has_time;
    span_t event, interned; /* NULL: none */
} packet_t;

/* ---- interned data ---- */

static outcome_t read_entry(scanner_t *self, uint32_t generation, uint32_t table, span_t entry) {
    field_t field;
    uint64_t iid = 0;
    span_t text = {entry.at, entry.at};
    while (entry.at < entry.end) {
        if (!get_field(&entry, &field))
            return OTHER;
        if (field.number == 1 && field.wire == VARINT)
            iid = field.value;
        else if (field.number == 2 && field.wire == LENGTH)
            text = field.payload;
    }
    size_t length = (size_t)(text.end - text.at);
    return intern_text(self, generation, table, iid, (const char *)text.at, length) < 0 ? NO_MEMORY : READ;
}

static outcome_t read_interned(scanner_t *self, uint32_t generation, span_t in) {
    field_t field;
    while (in.at < in.end) {
        if (!get_field(&in, &field))
            return OTHER;
        if ((field.number >= FUNCTIONS && field.number <= STACKS) || field.number == FILES) /* the caller's */
            return OTHER;
        int has_text = field.number <= ANNOTATION_NAMES || field.number == STRING_VALUES;
        if (!has_text || field.wire != LENGTH)
            continue;
        outcome_t outcome = read_entry(self, generation, field.number, field.payload);
        if (outcome != READ)
            return outcome;
    }
    return READ;
}

/* ---- events ---- */

/* The wire type that a field of TrackEvent is read with; -1: it has no meaning here; -2: a meaning that is not read. */
static int wire_of(uint32_t number) {
    switch (number) {
    case 9:
    case 10:
    case 3:
    case 11:
    case 30:
    case 56:
        return VARINT;
    case 23:
    case 22:
    case 4:
    case 55:
        return LENGTH;
    case 47:
    case 48:
    case 44:
        return FIXED64;
    case 1:
    case 16:
    case 6:
    case 12:
    case 31:
    case 45:
    case 46:
    case 36:
    case 42:
        return -2;
    default:
        return -1;
    }
}

static int64_t text_of(scanner_t *self, span_t text) {
    return text_id(&self->texts, (const char *)text.at, (size_t)(text.end - text.at));
}

/* Take a category; the sum of none and one is that one. */
static void add_category(event_t *event, int64_t id) {
    event->cats++;
    event->cat = event->cat < 0 || id < 0 ? -1 : id;
}

/* The text id of the site that an annotation is: 08 name iid | 88 01 site iid; -1: it is another one. */
static int64_t site_of(const scanner_t *self, uint32_t generation, span_t in) {
    enum { MAX_SITE_BYTES = 16 };
    uint64_t name, site;
    if (in.end - in.at < 5 || in.end - in.at > MAX_SITE_BYTES || *in.at++ != 0x08 || !get_varint(&in, &name))
        return -1;
    if (in.end - in.at < 2 || in.at[0] != 0x88 || in.at[1] != 0x01)
        return -1;
    in.at += 2;
    if (!get_varint(&in, &site) || in.at != in.end)
        return -1;
    if (interned_text(self, generation, ANNOTATION_NAMES, name) != SITE_TEXT)
        return -1;
    return interned_text(self, generation, STRING_VALUES, site);
}

/* Take an annotation: what is no site is read by the caller. */
static void take_annotation(const scanner_t *self, uint32_t generation, span_t in, event_t *event) {
    int64_t site = site_of(self, generation, in);
    event->annotated |= site < 0;
    event->site = site > event->site ? site : event->site;
}

/* Take a field of a TrackEvent that has a meaning; 0, or -1 when there is no memory. */
static int take_field(scanner_t *self, uint32_t generation, const field_t *field, event_t *event, int64_t *inlined) {
    int64_t id = 0;
    switch (field->number) {
    case 9:
        event->kind = field->value;
        break;
    case 10:
        event->name = interned_text(self, generation, NAMES, field->value);
        break;
    case 23:
        id = *inlined = text_of(self, field->payload);
        break;
    case 3:
        add_category(event, interned_text(self, generation, CATEGORIES, field->value));
        break;
    case 22:
        id = text_of(self, field->payload);
        add_category(event, id);
        break;
    case 11:
        id = event->track = track_number(self, field->value);
        break;
    case 4:
        take_annotation(self, generation, field->payload, event);
        break;
    case 55:
    case 56:
        event->annotated = 1;
        break;
    case 47:
    case 48:
        id = add_flow(&self->flows, (flow_id_t){field->value, 0, field->number == 48});
        break;
    case 30:
        event->value = (double)(int64_t)field->value;
        event->has_value = 1;
        break;
    case 44:
        memcpy(&event->value, &field->value, sizeof event->value);
        event->has_value = 1;
        break;
    default:
        break;
    }
    return id < 0 ? -1 : 0;
}

static outcome_t read_event(scanner_t *self, uint32_t generation, span_t in, event_t *event) {
    field_t field;
    int64_t inlined = 0;
    while (in.at < in.end) {
        if (!get_field(&in, &field))
            return OTHER;
        int wire = wire_of(field.number);
        if (unlikely(wire == -2 || (wire >= 0 && (uint32_t)wire != field.wire)))
            return OTHER;
        if (wire >= 0 && take_field(self, generation, &field, event, &inlined) < 0)
            return NO_MEMORY;
    }
    if (event->name == 0)
        event->name = inlined;
    if (event->kind < EVENT_BEGIN || event->kind > EVENT_COUNT)
        return OTHER;
    if ((event->kind == EVENT_COUNT) != event->has_value)
        return OTHER;
    return event->cats < 2 && event->name >= 0 && event->cat >= 0 ? READ : OTHER;
}

/* Add an event that was read; 0, or -1 when there is no memory. */
static int put_event(scanner_t *self, int64_t ts, const event_t *event, const sequence_state_t *sequence, detail_t at) {
    uint32_t track = event->track < 0 ? sequence->track : (uint32_t)event->track;
    if (event->has_value) {
        self->flows.count = event->first_flow; /* a counter has none */
        return add_count(&self->counts, (count_t){ts, event->value, track, sequence->generation});
    }
    at.event = (uint32_t)self->events.count;
    at.generation = sequence->generation;
    for (size_t i = event->first_flow; i < self->flows.count; i++)
        self->flows.of[i].event = at.event;
    if (event->annotated && add_detail(&self->details, at) < 0)
        return -1;
    event_texts_t texts = {(uint32_t)event->name, (uint32_t)event->cat, (uint32_t)event->site};
    return add_event(&self->events, ts, (uint8_t)event->kind, track, texts);
}

/* ---- packets ---- */

static outcome_t read_packet_fields(span_t in, packet_t *packet) {
    field_t field;
    while (in.at < in.end) {
        if (!get_field(&in, &field))
            return OTHER;
        switch ((uint64_t)field.number << 3 | field.wire) {
        case 8 << 3 | VARINT:
            if (packet->has_time)
                return OTHER;
            packet->has_time = 1;
            packet->time = field.value;
            break;
        case 58 << 3 | VARINT:
            packet->clock = field.value;
            break;
        case 10 << 3 | VARINT:
            packet->sequence = field.value;
            break;
        case 13 << 3 | VARINT:
            packet->flags = field.value;
            break;
        case 11 << 3 | LENGTH:
            if (packet->event.at)
                return OTHER;
            packet->event = field.payload;
            break;
        case 12 << 3 | LENGTH:
            if (packet->interned.at)
                return OTHER;
            packet->interned = field.payload;
            break;
        case 3 << 3 | VARINT:
        case 79 << 3 | VARINT:
        case 98 << 3 | VARINT:
            break;
        default:
            return OTHER;
        }
    }
    return packet->has_time && packet->event.at && (packet->flags & ~(uint64_t)NEEDS_STATE) == 0 ? READ : OTHER;
}

/* The ns of a packet's time on its clock; 0 if it cannot be told here. */
static int clock_ns(const clock_ns_t *clock, uint64_t time, int64_t *ns) {
    __int128 sum = (__int128)time * clock->unit_ns + (clock->incremental ? clock->last : 0);
    if (sum < clock->lowest || sum > clock->highest)
        return 0;
    *ns = (int64_t)sum;
    return 1;
}

/* Read a packet, if it is of the shapes that are read here. */
static outcome_t read_packet(scanner_t *self, span_t in, const uint8_t *data) {
    packet_t packet = {0};
    int64_t ns;
    outcome_t outcome = read_packet_fields(in, &packet);
    const sequence_state_t *sequence = outcome == READ ? find_sequence(self, packet.sequence) : NULL;
    if (!sequence || (!sequence->valid && (packet.flags || packet.interned.at)))
        return OTHER;
    clock_ns_t *clock = find_clock(self, packet.sequence, packet.clock ? packet.clock : sequence->clock);
    if (!clock || clock->epoch != self->epoch || !clock_ns(clock, packet.time, &ns))
        return OTHER;
    if (packet.interned.at && (outcome = read_interned(self, sequence->generation, packet.interned)) != READ)
        return outcome;
    event_t event = {.track = -1, .first_flow = self->flows.count};
    outcome = read_event(self, sequence->generation, packet.event, &event);
    if (outcome != READ) {
        self->flows.count = event.first_flow;
        return outcome;
    }
    clock->last = ns;
    detail_t at = {.buffer = self->buffer,
                   .start = (uint64_t)(packet.event.at - data),
                   .stop = (uint64_t)(packet.event.end - data)};
    return put_event(self, ns + clock->offset, &event, sequence, at) < 0 ? NO_MEMORY : READ;
}

int scan_packets(scanner_t *self, const uint8_t *data, size_t at, size_t end, stop_t *stop) {
    span_t in = {data + at, data + end};
    while (in.at < in.end) {
        field_t field;
        uint64_t length;
        *stop = (stop_t){(size_t)(in.at - data), end, end};
        if (unlikely(*in.at != 0x0a)) {
            if (!get_field(&in, &field))
                return SCAN_MALFORMED;
            continue;
        }
        in.at++;
        if (!get_varint(&in, &length))
            return end - stop->at <= MAX_VARINT ? SCAN_TRUNCATED : SCAN_MALFORMED;
        stop->start = (size_t)(in.at - data);
        if (length > end - stop->start)
            return SCAN_TRUNCATED;
        span_t payload = {in.at, in.at + length};
        self->packets++;
        outcome_t outcome = read_packet(self, payload, data);
        if (unlikely(outcome != READ)) {
            stop->stop = stop->start + (size_t)length;
            return outcome == OTHER ? SCAN_PACKET : SCAN_NO_MEMORY;
        }
        in.at = payload.end;
    }
    *stop = (stop_t){end, end, end};
    return SCAN_DONE;
}
