/* The wire of protobuf as it is read: fields one after the other, none of which goes past the end of what it is in. */

#ifndef STEPSCOPE_PROTOBUF_H
#define STEPSCOPE_PROTOBUF_H

#include "native.h"

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };
enum { LAST_FIELD = (1 << 29) - 1, MAX_VARINT = 10 };

/* What is left to read of a message. */
typedef struct {
    const uint8_t *at, *end;
} span_t;

/* A field: the value of an integer, the bits of a double, or the payload. */
typedef struct {
    uint32_t number, wire;
    uint64_t value;
    span_t payload;
} field_t;

/* Read an integer; 0 if it goes on past the end or ten bytes. */
static inline int get_varint(span_t *in, uint64_t *value) {
    const uint8_t *at = in->at;
    if (likely(at < in->end && *at < 0x80)) {
        *value = *at;
        in->at = at + 1;
        return 1;
    }
    uint64_t sum = 0;
    for (int i = 0; i < MAX_VARINT && at < in->end; i++, at++) {
        sum |= (uint64_t)(*at & 0x7f) << 7 * i;
        if (*at < 0x80) {
            *value = sum;
            in->at = at + 1;
            return 1;
        }
    }
    return 0;
}

static inline int get_fixed(span_t *in, size_t size, uint64_t *value) {
    *value = 0;
    if ((size_t)(in->end - in->at) < size)
        return 0;
    for (size_t i = 0; i < size; i++)
        *value |= (uint64_t)in->at[i] << 8 * i;
    in->at += size;
    return 1;
}

/* Read a field; 0 if it is none, or goes on past the end. */
static inline int get_field(span_t *in, field_t *field) {
    uint64_t tag;
    if (!get_varint(in, &tag))
        return 0;
    field->payload = (span_t){in->at, in->at};
    field->wire = tag & 7;
    if (unlikely(tag >> 3 == 0 || tag >> 3 > LAST_FIELD))
        return 0;
    field->number = (uint32_t)(tag >> 3);
    switch (field->wire) {
    case VARINT:
        return get_varint(in, &field->value);
    case LENGTH:
        if (!get_varint(in, &field->value) || field->value > (uint64_t)(in->end - in->at))
            return 0;
        field->payload = (span_t){in->at, in->at + field->value};
        in->at += field->value;
        return 1;
    case FIXED64:
        return get_fixed(in, 8, &field->value);
    case FIXED32:
        return get_fixed(in, 4, &field->value);
    default:
        return 0;
    }
}

#endif
