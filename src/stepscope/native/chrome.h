/* What the printers of Chrome JSON share: texts that are pasted, and integers printed from tables of digits. */

#ifndef STEPSCOPE_CHROME_H
#define STEPSCOPE_CHROME_H

#include "native.h"

#include <string.h>

extern char digits3[1000][4]; /* ".000" to ".999"; chrome.c fills them */
extern char digits4[10000][4];

/* Copy a text: most are short, so 64 bytes at once, and what lies behind is written over. */
static inline char *paste(char *to, const char *from, size_t length) {
    memcpy(to, from, TEXT_SLACK);
    if (unlikely(length > TEXT_SLACK))
        memcpy(to + TEXT_SLACK, from + TEXT_SLACK, length - TEXT_SLACK);
    return to + length;
}

static inline char *print_below_10000(char *to, uint32_t value) {
    uint32_t skip = (value < 1000) + (value < 100) + (value < 10), digits;
    memcpy(&digits, digits4[value], 4);
    digits = PY_BIG_ENDIAN ? digits << 8 * skip : digits >> 8 * skip;
    memcpy(to, &digits, 4);
    return to + 4 - skip;
}

static inline char *print_unsigned(char *to, uint64_t value) {
    if (value < 10000)
        return print_below_10000(to, (uint32_t)value);
    to = print_unsigned(to, value / 10000);
    memcpy(to, digits4[value % 10000], 4);
    return to + 4;
}

/* Nanoseconds as microseconds with three decimals; below zero both parts are rounded down, as Python's // and % do. */
static inline char *print_us(char *to, int64_t ns) {
    int64_t whole = ns / 1000, rest = ns % 1000;
    if (unlikely(ns < 0)) {
        if (rest < 0) {
            whole -= 1;
            rest += 1000;
        }
        if (whole < 0)
            *to++ = '-';
        whole = -whole;
    }
    to = print_unsigned(to, (uint64_t)whole);
    memcpy(to, digits3[rest], 4);
    return to + 4;
}

/* Whole tens of milliseconds, and the text that they begin a time with. */
typedef struct {
    uint64_t tens;
    size_t length;
    char text[16];
} tens_t;

/* The same for times that rise: few begin otherwise than the last. */
static inline char *print_rising_us(char *to, int64_t ns, tens_t *last) {
    if (unlikely(ns < 0))
        return print_us(to, ns);
    uint64_t whole = (uint64_t)ns / 1000, rest = (uint64_t)ns % 1000, tens = whole / 10000;
    if (unlikely(tens != last->tens)) {
        last->tens = tens;
        last->length = (size_t)(print_unsigned(last->text, tens) - last->text);
    }
    if (likely(tens)) {
        memcpy(to, last->text, sizeof last->text);
        to += last->length;
        memcpy(to, digits4[whole % 10000], 4);
        to += 4;
    } else {
        to = print_below_10000(to, (uint32_t)whole);
    }
    memcpy(to, digits3[rest], 4);
    return to + 4;
}

#endif
