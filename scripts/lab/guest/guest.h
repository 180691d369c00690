/* What the programs share that run in a virtual machine: the probe, a kernel, and the launcher. Freestanding. */
#pragma once

#include "../efi.h"

static inline void *copy(void *to, const void *from, size_t size) {
    volatile uint8_t *t = to;
    for (const uint8_t *f = from; size--;)
        *t++ = *f++;
    return to;
}

/* Compilers call these by themselves. */
void *memcpy(void *to, const void *from, size_t size) {
    return copy(to, from, size);
}

void *memset(void *to, int value, size_t size) {
    for (volatile uint8_t *t = to; size--;)
        *t++ = value;
    return to;
}

static inline size_t length16(const CHAR16 *text) {
    size_t n = 0;
    while (text[n])
        n++;
    return n;
}
