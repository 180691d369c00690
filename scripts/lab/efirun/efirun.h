/* A small UEFI in a Linux process: what its parts know of each other. */
#pragma once

#include "../efi.h"

#include <stdbool.h>
#include <stdio.h>

#define PAGE 4096UL
#define N_ELEMENTS(a) (sizeof(a) / sizeof *(a))

typedef struct {
    uint8_t *data;
    size_t size;
    bool given;
} Bytes;

typedef struct Variable {
    struct Variable *next;
    CHAR16 *name;
    EFI_GUID guid;
    uint32_t attributes;
    Bytes data;
    bool set; /* by the stub */
} Variable;

typedef struct Patch {
    struct Patch *next;
    size_t offset;
    Bytes data;
} Patch;

/* The machine and the start, as read from standard input. */
typedef struct {
    char *uki, *esp, *xbootldr;
    Bytes path, partition, xbootldr_partition, load_options, smbios, smbios_entry, edid, devicetree, initrd, vendor, keyboard;
    CHAR16 **arguments;
    size_t n_arguments;
    bool shell, tpm, rng, graphics, secure_boot, fixup;
    uint32_t banks, revision, uefi_revision, n_virtio, serial[8], n_serial;
    const char *cpu; /* "none", "kvm", "tdx" or "sev-snp" */
    struct {
        EFI_STATUS error;
        size_t needs;
        bool first_only, fill;
        uint8_t fill_byte;
        Bytes append;
        Patch *patches;
    } fix;
} Machine;

extern Machine machine;
extern EFI_SYSTEM_TABLE system_table;
extern EFI_BOOT_SERVICES boot_services;
extern EFI_RUNTIME_SERVICES runtime_services;

/* memory.c: pages come from one range below 4 GiB and can be executed only where an image's code lies. */
enum { ALLOCATE_ANY, ALLOCATE_MAX, ALLOCATE_AT };
void memory_init(void);
void *pages(size_t size);
void *pool(size_t size);
void *pool_copy(const void *data, size_t size);
void allow_execution(void *start, size_t size);
bool in_arena(const void *address);

/* handles.c */
EFI_HANDLE handle_new(void);
void handle_install(EFI_HANDLE handle, EFI_GUID guid, void *interface);
void *handle_find(EFI_HANDLE handle, const EFI_GUID *guid);
bool guid_equal(const EFI_GUID *one, const EFI_GUID *other);
size_t length16(const CHAR16 *text);
void handles_init(void);

/* device_path.c */
EFI_DEVICE_PATH *path_append(EFI_DEVICE_PATH *path, uint8_t type, uint8_t subtype, const void *data, size_t size);
size_t path_size(const EFI_DEVICE_PATH *path);
CHAR16 *path_file(const EFI_DEVICE_PATH *path);
EFI_DEVICE_PATH *path_pci(uint8_t device, uint8_t function);
void device_path_init(void);

/* files.c: a folder for each partition, read whole; what is written stays in memory. */
extern EFI_HANDLE partition;
void files_init(void);
bool file_content(EFI_HANDLE device, const CHAR16 *path, Bytes *content);
void files_report(FILE *out);

/* In sectors, the first as in the recordings. */
enum { PARTITION_START = 0x800, PARTITION_SIZE = 0xc000, XBOOTLDR_START = PARTITION_START + PARTITION_SIZE, XBOOTLDR_SIZE = 0x400 };
/* disk.c: the GPT that the partitions are in; no handle of XBOOTLDR: there is none. */
uint32_t crc32(const void *data, size_t size);
void disk_init(EFI_HANDLE disk, EFI_HANDLE of_partition, EFI_HANDLE of_xbootldr);

/* image.c */
extern EFI_HANDLE stub_handle;
EFI_STATUS image_load(Bytes file, EFI_DEVICE_PATH *path, EFI_HANDLE device, EFI_HANDLE parent, EFI_HANDLE *handle);
void images_init(void);
void run_stub(void);

/* variables.c, measure.c, devices.c, tables.c */
void variable_add(CHAR16 *name, EFI_GUID guid, uint32_t attributes, Bytes data, bool set);
void variables_init(void);
void variables_report(FILE *out);
void measure_init(void);
void measurements_report(FILE *out);
void *pci_device(uint16_t vendor, uint16_t id);
void devices_init(void);
void console_report(FILE *out);
void tables_init(void);
void table_install(EFI_GUID guid, void *table);
void *table_find(EFI_GUID guid);

/* processor.c: privileged instructions, and the jump into a kernel. */
void processor_init(void);
void processor_hide_cpuid(uint8_t *code, size_t size);

/* report.c: every way out ends in one of these two. */
_Noreturn void finish(const char *outcome, EFI_STATUS status);
_Noreturn void kernel_started(EFI_HANDLE image, const char *how, const void *setup);
void print_hex(FILE *out, const char *key, const void *data, size_t size, const char *behind);
