#include "efirun.h"

#include <string.h>
#include <sys/mman.h>

/* Above a static program and its heap, which Linux starts up to 1 GiB above the program. */
#define START 0x60000000UL
#define SIZE 0x60000000UL
#define BEHIND 0x1000000UL
/* EDK II's debug pattern, so that nothing is zero by chance. */
#define PATTERN 0xaf

static uint8_t *arena_top, *pool_next, *pool_end;

void memory_init(void) {
    void *at = mmap((void *) START, SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (at != (void *) START)
        finish("no-memory", 0);
#ifdef __x86_64__
    /* A PC has RAM at 0, of zeros under OVMF; stubs of 257 to 259.0 read there what initrd there is where they have
     * none. */
    (void) mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
#endif
    /* What a stub reads behind an image is memory as well, and it is zero. */
    arena_top = (uint8_t *) START + SIZE - BEHIND;
}

bool in_arena(const void *address) {
    return (uintptr_t) address >= START && (uintptr_t) address < START + SIZE;
}

/* Top down, as EDK II does; freed pages are not used again. */
void *pages(size_t size) {
    size = (size + PAGE - 1) & ~(PAGE - 1);
    if (size > (size_t) (arena_top - (uint8_t *) START))
        return NULL;
    arena_top -= size;
    memset(arena_top, PATTERN, size);
    return arena_top;
}

void *pool(size_t size) {
    size = (size + 15) & ~15UL;
    if (size > (size_t) (pool_end - pool_next)) {
        size_t chunk = size > 16 * PAGE ? size : 16 * PAGE;
        pool_next = pages(chunk);
        if (!pool_next) {
            pool_end = NULL;
            return NULL;
        }
        pool_end = pool_next + ((chunk + PAGE - 1) & ~(PAGE - 1));
    }
    void *at = pool_next;
    pool_next += size;
    return at;
}

void *pool_copy(const void *data, size_t size) {
    void *copy = pool(size);
    return copy ? memcpy(copy, data, size) : NULL;
}

void allow_execution(void *start, size_t size) {
    uintptr_t from = (uintptr_t) start & ~(PAGE - 1);
    mprotect((void *) from, (uintptr_t) start + size - from, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static EFI_STATUS EFIAPI allocate_pages(int type, int memory_type, size_t n, uint64_t *address) {
    (void) memory_type;
    if (!address)
        return EFI_INVALID_PARAMETER;
    if (type == ALLOCATE_AT)
        return EFI_NOT_FOUND;
    /* No pages are never found (EDK II, CoreFindFreePagesI). */
    uint8_t *at = !n || n > SIZE / PAGE ? NULL : pages(n * PAGE);
    if (!at || (type == ALLOCATE_MAX && (uintptr_t) at + n * PAGE - 1 > *address))
        return EFI_OUT_OF_RESOURCES;
    *address = (uintptr_t) at;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pages(uint64_t address, size_t n) {
    return in_arena((void *) address) && address % PAGE == 0 && n ? EFI_SUCCESS : EFI_NOT_FOUND;
}

static EFI_STATUS EFIAPI allocate_pool(int type, size_t size, void **buffer) {
    (void) type;
    *buffer = size > SIZE ? NULL : pool(size ? size : 1);
    if (*buffer)
        memset(*buffer, PATTERN, size);
    return *buffer ? EFI_SUCCESS : EFI_OUT_OF_RESOURCES;
}

static EFI_STATUS EFIAPI free_pool(void *buffer) {
    return in_arena(buffer) ? EFI_SUCCESS : EFI_INVALID_PARAMETER;
}

static EFI_STATUS EFIAPI get_memory_map(size_t *size, void *map, size_t *key, size_t *row, uint32_t *version) {
    struct {
        uint32_t type, padding;
        uint64_t physical, virtual, n, attributes;
    } *rows = map;
    bool enough = *size >= sizeof *rows;
    *size = *row = sizeof *rows;
    if (!enough)
        return EFI_BUFFER_TOO_SMALL;
    *key = 1;
    *version = 1;
    rows->type = 7;
    rows->physical = rows->virtual = START;
    rows->n = SIZE / PAGE;
    rows->attributes = 0xf;
    return EFI_SUCCESS;
}

static void EFIAPI copy_mem(void *to, void *from, size_t size) {
    memmove(to, from, size);
}

static void EFIAPI set_mem(void *to, size_t size, uint8_t value) {
    memset(to, value, size);
}

EFI_BOOT_SERVICES boot_services = {
    .header = {0x56524553544f4f42, 0x20046, sizeof(EFI_BOOT_SERVICES), 0, 0},
    .allocate_pages = allocate_pages,
    .free_pages = free_pages,
    .allocate_pool = allocate_pool,
    .free_pool = free_pool,
    .get_memory_map = get_memory_map,
    .copy_mem = copy_mem,
    .set_mem = set_mem,
};
