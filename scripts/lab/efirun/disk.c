#include "efirun.h"

#include <string.h>

typedef struct {
    uint32_t id;
    uint8_t removable, present, logical, read_only, caching;
    uint32_t block_size, alignment;
    uint64_t last;
} Media;

typedef struct {
    uint64_t revision;
    void *media, *functions[4];
} BlockIo;

typedef struct {
    EFI_GUID type;
    uint8_t id[16];
    uint64_t first, last, attributes;
    CHAR16 name[36];
} Entry;

typedef struct {
    EFI_TABLE_HEADER header;
    uint64_t own, other, first, last;
    uint8_t id[16];
    uint64_t entries;
    uint32_t n, entry_size, crc;
} __attribute__((packed)) Gpt;

enum { SECTOR = 512, SECTORS = PARTITION_START + PARTITION_SIZE + 0x800 };

/* The beginning of the disk: MBR, GPT and its entries. Nobody reads the rest, which is zeros. */
static uint8_t start[34 * SECTOR];

uint32_t crc32(const void *data, size_t size) {
    uint32_t value = ~0U;
    for (const uint8_t *at = data; size--; at++) {
        value ^= *at;
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
    }
    return ~value;
}

static EFI_STATUS EFIAPI read_disk(void *this, uint32_t media, uint64_t offset, size_t size, uint8_t *buffer) {
    (void) this, (void) media;
    if (offset + size > (uint64_t) SECTORS * SECTOR)
        return EFI_INVALID_PARAMETER;
    for (size_t i = 0; i < size; i++)
        buffer[i] = offset + i < sizeof start ? start[offset + i] : 0;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI read_blocks(void *this, uint32_t media, uint64_t block, size_t size, uint8_t *buffer) {
    return read_disk(this, media, block * SECTOR, size, buffer);
}

void disk_init(EFI_HANDLE disk, EFI_HANDLE of_partition, EFI_HANDLE of_xbootldr) {
    static Media whole = {1, 0, 1, 0, 0, 0, SECTOR, 0, SECTORS - 1}, part = {1, 0, 1, 1, 0, 0, SECTOR, 0, PARTITION_SIZE - 1};
    static BlockIo disk_blocks = {0x20001, &whole, {[1] = read_blocks}}, part_blocks = {0x20001, &part, {0}};
    static struct {
        uint64_t revision;
        void *read, *write;
    } disk_io = {0x10000, read_disk, NULL};
    Entry entries[2] = {
        {ESP_TYPE, {0}, PARTITION_START, PARTITION_START + PARTITION_SIZE - 1, 0, u"ESP"},
        {XBOOTLDR_TYPE, {0}, XBOOTLDR_START, XBOOTLDR_START + XBOOTLDR_SIZE - 1, 0, u"XBOOTLDR"},
    };
    Gpt gpt = {{0x5452415020494645, 0x10000, 92, 0, 0}, 1, SECTORS - 1, 34, SECTORS - 34, {1}, 2, 128, sizeof *entries, 0};

    memcpy(entries[0].id, machine.partition.data, sizeof entries[0].id);
    if (of_xbootldr) {
        memcpy(entries[1].id, machine.xbootldr_partition.data, sizeof entries[1].id);
        handle_install(of_xbootldr, BLOCK_IO, &part_blocks);
    }
    memcpy(start + 2 * SECTOR, entries, of_xbootldr ? sizeof entries : sizeof *entries);
    gpt.crc = crc32(start + 2 * SECTOR, gpt.n * gpt.entry_size);
    gpt.header.crc32 = crc32(&gpt, gpt.header.header_size);
    memcpy(start + SECTOR, &gpt, sizeof gpt);
    handle_install(disk, BLOCK_IO, &disk_blocks);
    handle_install(disk, DISK_IO, &disk_io);
    handle_install(of_partition, BLOCK_IO, &part_blocks);
}
