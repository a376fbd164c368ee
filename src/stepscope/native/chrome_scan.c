/* Scanning Chrome JSON: plain events straight into rows, and where all others are; the twin of twin/chrome_read.py,
   which says what a plain event is.

   One pass over the bytes of an event. Of a member only its place is kept, until the event is known to be plain:

       {"ph":"X","name":"fwd","cat":"user_annotation","pid":1,"tid":2,"ts":0.001,"dur":1.250,"args":{"k":1}}
              '            '           '                    '       '      '           '            '------'
              texts: begin, length                          numbers: digits as an integer           a range

   Nothing is read outside of the buffer, whatever its bytes: every loop stops at its end. */

#include "chrome_read.h"

#include <string.h>

enum { PLAIN_BYTES = 1 << 16 };
enum { MAX_DIGITS = 18 };
static const int64_t LAST_NS = ((int64_t)1 << 62) - 1;

/* ---- where a value ends ---- */

static int is_space(uint8_t byte) {
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

static Py_ssize_t skip_space(const uint8_t *data, Py_ssize_t at, Py_ssize_t end) {
    while (at < end && is_space(data[at]))
        at++;
    return at;
}

/* Behind the string whose quote is at `at`, or INCOMPLETE. */
static Py_ssize_t string_end(const uint8_t *data, Py_ssize_t at, Py_ssize_t end) {
    for (at++; at < end; at++) {
        if (data[at] == '"')
            return at + 1;
        at += data[at] == '\\';
    }
    return INCOMPLETE;
}

/* Behind the object or array whose bracket is at `at`, or INCOMPLETE. */
static Py_ssize_t brackets_end(const uint8_t *data, Py_ssize_t at, Py_ssize_t end) {
    size_t depth = 0;
    while (at < end) {
        switch (data[at]) {
        case '"':
            at = string_end(data, at, end);
            if (at < 0)
                return INCOMPLETE;
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (!--depth)
                return at + 1;
            break;
        default:
            break;
        }
        at++;
    }
    return INCOMPLETE;
}

static int ends_scalar(uint8_t byte) {
    return is_space(byte) || byte == ',' || byte == ':' || byte == '"' || byte == '{' || byte == '}' || byte == '[' ||
           byte == ']';
}

Py_ssize_t value_end(const uint8_t *data, Py_ssize_t at, Py_ssize_t end) {
    if (data[at] == '"')
        return string_end(data, at, end);
    if (data[at] == '{' || data[at] == '[')
        return brackets_end(data, at, end);
    Py_ssize_t behind = at;
    while (behind < end && !ends_scalar(data[behind]))
        behind++;
    if (behind == at)
        return NO_VALUE;
    return behind == end ? INCOMPLETE : behind;
}

/* ---- events ---- */

static int append3(integers_t *integers, int64_t a, int64_t b, int64_t c) {
    if (integers->room - integers->count < 3) {
        size_t room = integers->room ? integers->room * 2 : 384;
        int64_t *of = PyMem_RawRealloc(integers->of, room * sizeof *of);
        if (!of)
            return -1;
        integers->of = of;
        integers->room = room;
    }
    integers->of[integers->count++] = a;
    integers->of[integers->count++] = b;
    integers->of[integers->count++] = c;
    return 0;
}

/* The members of a plain event. */
enum { PH, NAME, CAT, SCOPE, PID, TID, TS, DUR, ARGS, MEMBERS };

/* What a member holds: a text's or an object's place; or a number: its digits before the point, and what follows. */
typedef struct {
    const uint8_t *at;
    size_t length;
    int64_t whole;
    int negative;
    const uint8_t *fraction; /* NULL: there is no point */
    size_t fraction_length;
} member_t;

/* Which member a key is of, or -1. */
static int member_of(const uint8_t *key, size_t length) {
    static const struct {
        char key[5];
        uint8_t length;
    } KEYS[MEMBERS] = {{"ph", 2},  {"name", 4}, {"cat", 3}, {"s", 1},   {"pid", 3},
                       {"tid", 3}, {"ts", 2},   {"dur", 3}, {"args", 4}};
    for (int member = 0; member < MEMBERS; member++)
        if (KEYS[member].length == length && !memcmp(KEYS[member].key, key, length))
            return member;
    return -1;
}

static int is_hex(uint8_t byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

/* Read a string whose escapes JSON knows; behind it, or 0. */
static Py_ssize_t read_text(const uint8_t *data, Py_ssize_t at, Py_ssize_t limit, member_t *member) {
    Py_ssize_t start = ++at;
    for (; at < limit; at++) {
        if (data[at] == '"') {
            member->at = data + start;
            member->length = (size_t)(at - start);
            return at + 1;
        }
        if (data[at] != '\\')
            continue;
        if (++at >= limit)
            return 0;
        if (data[at] == 'u') {
            if (limit - at <= 4 || !is_hex(data[at + 1]) || !is_hex(data[at + 2]) || !is_hex(data[at + 3]) ||
                !is_hex(data[at + 4]))
                return 0;
            at += 4;
        } else if (!data[at] || !strchr("\"\\/bfnrt", data[at])) {
            return 0;
        }
    }
    return 0;
}

static int is_digit(uint8_t byte) {
    return byte >= '0' && byte <= '9';
}

/* Read a number of the shape that a plain event may have; behind it, or 0. */
static Py_ssize_t read_number(const uint8_t *data, Py_ssize_t at, Py_ssize_t limit, member_t *member) {
    Py_ssize_t start;
    member->negative = data[at] == '-';
    at += member->negative;
    start = at;
    member->whole = 0;
    for (; at < limit && is_digit(data[at]); at++) {
        if (at - start == MAX_DIGITS)
            return 0;
        member->whole = member->whole * 10 + (data[at] - '0');
    }
    if (at == start || (data[start] == '0' && at - start > 1))
        return 0;
    member->fraction = NULL;
    member->fraction_length = 0;
    if (at < limit && data[at] == '.') {
        member->fraction = data + ++at;
        while (at < limit && is_digit(data[at]))
            at++;
        member->fraction_length = (size_t)(data + at - member->fraction);
        if (!member->fraction_length)
            return 0;
    }
    if (at >= limit || data[at] == '.' || data[at] == 'e' || data[at] == 'E' || data[at] == '+' || data[at] == '-')
        return 0;
    return at;
}

/* Read an object's place; behind it, or 0. */
static Py_ssize_t read_object(const uint8_t *data, Py_ssize_t at, Py_ssize_t limit, member_t *member) {
    Py_ssize_t end = brackets_end(data, at, limit);
    if (end < 0)
        return 0;
    member->at = data + at;
    member->length = (size_t)(end - at);
    return end;
}

/* Read a value into the member that it is of; behind it, or 0. */
static Py_ssize_t read_value(const uint8_t *data, Py_ssize_t at, Py_ssize_t limit, int which, member_t *member) {
    if (which == ARGS)
        return data[at] == '{' ? read_object(data, at, limit, member) : 0;
    if (which >= PID)
        return read_number(data, at, limit, member);
    return data[at] == '"' ? read_text(data, at, limit, member) : 0;
}

/* Read an event's members; behind it, or 0 if it is not plain or not whole. found tells which there are. */
static Py_ssize_t read_members(const uint8_t *data, Py_ssize_t at, Py_ssize_t limit, member_t *members,
                               unsigned *found) {
    *found = 0;
    do {
        at = skip_space(data, at + 1, limit);
        if (at >= limit || data[at] != '"')
            return 0;
        Py_ssize_t key = ++at;
        while (at < limit && data[at] >= 'a' && data[at] <= 'z')
            at++;
        int which = at < limit && data[at] == '"' ? member_of(data + key, (size_t)(at - key)) : -1;
        if (which < 0 || *found & 1u << which)
            return 0;
        at = skip_space(data, at + 1, limit);
        if (at >= limit || data[at] != ':')
            return 0;
        at = skip_space(data, at + 1, limit);
        if (at >= limit)
            return 0;
        at = read_value(data, at, limit, which, &members[which]);
        if (!at)
            return 0;
        *found |= 1u << which;
        at = skip_space(data, at, limit);
        if (at >= limit)
            return 0;
    } while (data[at] == ',');
    return data[at] == '}' ? at + 1 : 0;
}

/* A time in ns, a half rounded away from zero; 0, or -1 if it is out of range. */
static int time_ns(const member_t *member, int64_t *ns) {
    if (member->whole > LAST_NS / 1000)
        return -1;
    int64_t value = member->whole * 1000;
    for (size_t place = 0, worth = 100; place < 3 && place < member->fraction_length; place++, worth /= 10)
        value += (member->fraction[place] - '0') * (int64_t)worth;
    value += member->fraction_length > 3 && member->fraction[3] >= '5';
    *ns = member->negative ? -value : value;
    return value > LAST_NS ? -1 : 0;
}

static int64_t text_number(scanner_t *self, const member_t *member, int there, uint32_t none, int64_t *last) {
    if (!there || !member->length)
        return none;
    *last = key_number_near(&self->texts, member->at, member->length, *last);
    return *last;
}

/* Make room for one more row; 0, or -1 when there is no memory. */
static int rows_grow(scanner_t *self) {
    size_t room = self->room ? self->room + self->room / 2 : 4096;
    row_t *rows = PyMem_RawRealloc(self->rows, room * sizeof *rows);
    if (!rows)
        return -1;
    self->rows = rows;
    self->room = room;
    return 0;
}

typedef enum { PLAIN, UNUSUAL, NO_MEMORY } outcome_t;

/* Read where a row's function is, if the arguments say it first, as our own writer has them; whether they do. *alone:
   they say nothing else. */
static int read_site(const member_t *args, member_t *site, int *alone) {
    static const char HEAD[] = "{\"stepscope:site\":\"";
    const size_t head = sizeof HEAD - 1;
    if (args->length <= head || memcmp(args->at, HEAD, head) != 0)
        return 0;
    Py_ssize_t behind = read_text(args->at, (Py_ssize_t)head - 1, (Py_ssize_t)args->length, site);
    if (!behind || behind >= (Py_ssize_t)args->length || (args->at[behind] != ',' && args->at[behind] != '}'))
        return 0;
    *alone = args->at[behind] == '}';
    return 1;
}

/* Append the row of an event whose members have been read. */
static outcome_t append_event(scanner_t *self, const uint8_t *data, const member_t *members, unsigned found) {
    const unsigned needed = 1u << PH | 1u << PID | 1u << TID | 1u << TS;
    row_t row = {0};
    if ((found & needed) != needed || members[PH].length != 1)
        return UNUSUAL;
    switch (*members[PH].at) {
    case 'X':
        if (!(found & 1u << DUR) || members[DUR].negative || time_ns(&members[DUR], &row.dur) < 0)
            return UNUSUAL;
        row.kind = ROW_SLICE;
        break;
    case 'i':
    case 'I':
        row.kind = ROW_INSTANT;
        break;
    default:
        return UNUSUAL;
    }
    if (time_ns(&members[TS], &row.ts) < 0 || members[PID].fraction || members[TID].fraction)
        return UNUSUAL;
    int64_t ids[2] = {members[PID].negative ? -members[PID].whole : members[PID].whole,
                      members[TID].negative ? -members[TID].whole : members[TID].whole};
    int64_t name = text_number(self, &members[NAME], found >> NAME & 1, self->no_name, &self->last_name);
    int64_t cat = text_number(self, &members[CAT], found >> CAT & 1, self->no_category, &self->last_category);
    int64_t thread = self->last_thread = key_number_near(&self->threads, ids, sizeof ids, self->last_thread);
    if (name < 0 || cat < 0 || thread < 0 || (self->count == self->room && rows_grow(self) < 0))
        return NO_MEMORY;
    row.name = (uint32_t)name;
    row.cat = (uint32_t)cat;
    row.track = (uint32_t)thread;
    int has_args = found >> ARGS & 1 && members[ARGS].length > 2, alone = 0;
    member_t text;
    if (has_args && read_site(&members[ARGS], &text, &alone)) {
        int64_t site = text_number(self, &text, 1, 0, &self->last_site);
        if (site < 0)
            return NO_MEMORY;
        row.site = (uint32_t)site;
    }
    if (has_args && !alone) {
        int64_t start = members[ARGS].at - data;
        if (append3(&self->args, (int64_t)self->count, start, start + (int64_t)members[ARGS].length) < 0)
            return NO_MEMORY;
    }
    self->rows[self->count++] = row;
    return PLAIN;
}

state_t scan(scanner_t *self, const uint8_t *data, Py_ssize_t end, Py_ssize_t *stopped) {
    Py_ssize_t at = *stopped;
    for (;;) {
        while (at < end && (is_space(data[at]) || data[at] == ','))
            at++;
        *stopped = at;
        if (at == end)
            return MORE;
        if (data[at] == ']') {
            *stopped = at + 1;
            return END;
        }
        Py_ssize_t behind = 0;
        if (data[at] == '{') {
            member_t members[MEMBERS];
            unsigned found;
            Py_ssize_t limit = end - at > PLAIN_BYTES ? at + PLAIN_BYTES : end;
            behind = read_members(data, at, limit, members, &found);
            outcome_t outcome = behind ? append_event(self, data, members, found) : UNUSUAL;
            if (outcome == NO_MEMORY)
                return EXHAUSTED;
            if (outcome == UNUSUAL)
                behind = 0;
        }
        if (!behind) {
            behind = value_end(data, at, end);
            if (behind < 0)
                return behind == INCOMPLETE ? MORE : DAMAGED;
            if (append3(&self->unusual, (int64_t)self->count, at, behind) < 0)
                return EXHAUSTED;
        }
        at = behind;
    }
}
