/* Patterns of levels; pattern.h. The twin of twin/pattern.py.

   Each member is told by the first member that is equal to it, in six likenesses:

       names      conv | relu | conv        as in a level of      load | sort | load
       are told      0 |    1 |    0                                 0 |    1 |    0

   and so are the children of each, which may be members elsewhere: in a wrapper, say. */

#include "pattern.h"

#include "mix.h"

/* With more members than this, or with more children, a level has no pattern. */
enum { MOST_MEMBERS = 48, MOST_INSIDE = 256 };
enum { FULL, SHAPE, INNER, LABEL, OWN, NAME, LIKENESSES };

typedef struct {
    uint64_t keys[LIKENESSES][MOST_MEMBERS];
    size_t count;
    size_t inside; /* children so far */
    uint64_t told; /* the hash so far */
} pattern_t;

static inline void tell(pattern_t *pattern, size_t value) {
    pattern->told = mix(5 * pattern->told + value + 1);
}

/* Tell the first of some members that is like this; how many there are, if none is. */
static void tell_first(pattern_t *pattern, int likeness, size_t count, uint64_t key) {
    const uint64_t *keys = pattern->keys[likeness];
    size_t at = 0;
    while (at < count && keys[at] != key)
        at++;
    tell(pattern, at);
}

static void add_members(pattern_t *pattern, const forest_t *forest, level_t level) {
    for (size_t at = 0; at < level.count; at++) {
        uint32_t row = level.rows[at];
        size_t member = pattern->count++;
        pattern->keys[FULL][member] = forest->full[row];
        pattern->keys[SHAPE][member] = forest->shape[row];
        pattern->keys[INNER][member] = forest->inner[row];
        pattern->keys[LABEL][member] = forest->label[row];
        pattern->keys[OWN][member] = forest->own[row];
        pattern->keys[NAME][member] = forest->name[row];
    }
}

/* Tell which members the children of others are like. 0, or -1: those of a row do not stand behind it. */
static int tell_inside(pattern_t *pattern, const forest_t *forest, level_t level, uint32_t *wrong) {
    for (size_t at = 0; at < level.count; at++) {
        level_t inside;
        if (!forest->inner[level.rows[at]])
            continue;
        if (forest_level(forest, level.rows[at], &inside) < 0) {
            *wrong = level.rows[at];
            return -1;
        }
        tell(pattern, inside.count);
        pattern->inside += inside.count;
        for (size_t child = 0; child < inside.count && pattern->inside <= MOST_INSIDE; child++) {
            tell_first(pattern, SHAPE, pattern->count, forest->shape[inside.rows[child]]);
            tell_first(pattern, NAME, pattern->count, forest->name[inside.rows[child]]);
        }
    }
    return 0;
}

int pattern_of(const forest_t forests[2], const level_t members[2], const size_t around[4], uint64_t *pattern,
               uint32_t wrong[2]) {
    pattern_t telling = {.count = 0, .inside = 0, .told = 0};
    *pattern = 0;
    if (members[0].count + members[1].count > MOST_MEMBERS)
        return 0;
    for (int i = 0; i < 4; i++)
        tell(&telling, around[i]);
    for (int side = 0; side < 2; side++) {
        tell(&telling, members[side].count);
        add_members(&telling, &forests[side], members[side]);
    }
    for (size_t member = 0; member < telling.count; member++) {
        for (int likeness = 0; likeness < LIKENESSES; likeness++)
            tell_first(&telling, likeness, member, telling.keys[likeness][member]);
        tell(&telling, telling.keys[INNER][member] != 0);
    }
    for (int side = 0; side < 2; side++)
        if (tell_inside(&telling, &forests[side], members[side], &wrong[side]) < 0)
            return -1;
    if (telling.inside <= MOST_INSIDE)
        *pattern = telling.told | 1;
    return 0;
}
