/* The part of the UEFI 2.10 specification that a stub talks to, and a few protocols beside it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __x86_64__
#define EFIAPI __attribute__((ms_abi))
#define PE_MACHINE 0x8664
typedef __builtin_ms_va_list efi_va_list;
#define efi_va_start __builtin_ms_va_start
#define efi_va_end __builtin_ms_va_end
#else
#define EFIAPI
#define PE_MACHINE 0xaa64
typedef __builtin_va_list efi_va_list;
#define efi_va_start __builtin_va_start
#define efi_va_end __builtin_va_end
#endif
#define efi_va_arg __builtin_va_arg

typedef uint64_t EFI_STATUS;
typedef void *EFI_HANDLE;
typedef uint16_t CHAR16;

#define ERROR_BIT (1ULL << 63)
#define EFI_SUCCESS 0
#define EFI_LOAD_ERROR (ERROR_BIT | 1)
#define EFI_INVALID_PARAMETER (ERROR_BIT | 2)
#define EFI_UNSUPPORTED (ERROR_BIT | 3)
#define EFI_BUFFER_TOO_SMALL (ERROR_BIT | 5)
#define EFI_NOT_READY (ERROR_BIT | 6)
#define EFI_WRITE_PROTECTED (ERROR_BIT | 8)
#define EFI_OUT_OF_RESOURCES (ERROR_BIT | 9)
#define EFI_NOT_FOUND (ERROR_BIT | 14)
#define EFI_ACCESS_DENIED (ERROR_BIT | 15)
#define EFI_ALREADY_STARTED (ERROR_BIT | 20)
#define EFI_SECURITY_VIOLATION (ERROR_BIT | 26)

typedef struct {
    uint32_t a;
    uint16_t b, c;
    uint8_t d[8];
} EFI_GUID;

typedef struct {
    uint64_t signature;
    uint32_t revision, header_size, crc32, reserved;
} EFI_TABLE_HEADER;

typedef struct {
    uint8_t type, subtype;
    uint16_t length;
} __attribute__((packed)) EFI_DEVICE_PATH;

typedef struct {
    EFI_GUID guid;
    void *table;
} EFI_CONFIGURATION_TABLE;

typedef struct EFI_TEXT_OUTPUT {
    EFI_STATUS (EFIAPI *reset)(struct EFI_TEXT_OUTPUT *, uint8_t);
    EFI_STATUS (EFIAPI *output_string)(struct EFI_TEXT_OUTPUT *, CHAR16 *);
    EFI_STATUS (EFIAPI *test_string)(struct EFI_TEXT_OUTPUT *, CHAR16 *);
    EFI_STATUS (EFIAPI *query_mode)(struct EFI_TEXT_OUTPUT *, size_t, size_t *, size_t *);
    EFI_STATUS (EFIAPI *set_mode)(struct EFI_TEXT_OUTPUT *, size_t);
    EFI_STATUS (EFIAPI *set_attribute)(struct EFI_TEXT_OUTPUT *, size_t);
    EFI_STATUS (EFIAPI *clear_screen)(struct EFI_TEXT_OUTPUT *);
    EFI_STATUS (EFIAPI *set_cursor)(struct EFI_TEXT_OUTPUT *, size_t, size_t);
    EFI_STATUS (EFIAPI *enable_cursor)(struct EFI_TEXT_OUTPUT *, uint8_t);
    struct {
        int32_t max_mode, mode, attribute, column, row;
        uint8_t visible;
    } *mode;
} EFI_TEXT_OUTPUT;

typedef struct {
    EFI_TABLE_HEADER header;
    CHAR16 *vendor;
    uint32_t revision;
    EFI_HANDLE input_handle;
    void *input;
    EFI_HANDLE output_handle;
    EFI_TEXT_OUTPUT *output;
    EFI_HANDLE error_handle;
    EFI_TEXT_OUTPUT *error;
    struct EFI_RUNTIME_SERVICES *runtime;
    struct EFI_BOOT_SERVICES *boot;
    size_t n_tables;
    EFI_CONFIGURATION_TABLE *tables;
} EFI_SYSTEM_TABLE;

typedef struct {
    uint32_t revision;
    EFI_HANDLE parent;
    EFI_SYSTEM_TABLE *system;
    EFI_HANDLE device;
    EFI_DEVICE_PATH *path;
    void *reserved;
    uint32_t options_size;
    void *options;
    void *base;
    uint64_t size;
    uint32_t code_type, data_type;
    void *unload;
} EFI_LOADED_IMAGE;

/* Functions that no stub calls are plain pointers. */
typedef struct EFI_BOOT_SERVICES {
    EFI_TABLE_HEADER header;
    size_t (EFIAPI *raise_tpl)(size_t);
    void (EFIAPI *restore_tpl)(size_t);
    EFI_STATUS (EFIAPI *allocate_pages)(int, int, size_t, uint64_t *);
    EFI_STATUS (EFIAPI *free_pages)(uint64_t, size_t);
    EFI_STATUS (EFIAPI *get_memory_map)(size_t *, void *, size_t *, size_t *, uint32_t *);
    EFI_STATUS (EFIAPI *allocate_pool)(int, size_t, void **);
    EFI_STATUS (EFIAPI *free_pool)(void *);
    EFI_STATUS (EFIAPI *create_event)(uint32_t, size_t, void *, void *, void **);
    EFI_STATUS (EFIAPI *set_timer)(void *, int, uint64_t);
    EFI_STATUS (EFIAPI *wait_for_event)(size_t, void **, size_t *);
    EFI_STATUS (EFIAPI *signal_event)(void *);
    EFI_STATUS (EFIAPI *close_event)(void *);
    EFI_STATUS (EFIAPI *check_event)(void *);
    EFI_STATUS (EFIAPI *install_protocol)(EFI_HANDLE *, EFI_GUID *, int, void *);
    EFI_STATUS (EFIAPI *reinstall_protocol)(EFI_HANDLE, EFI_GUID *, void *, void *);
    EFI_STATUS (EFIAPI *uninstall_protocol)(EFI_HANDLE, EFI_GUID *, void *);
    EFI_STATUS (EFIAPI *handle_protocol)(EFI_HANDLE, EFI_GUID *, void **);
    void *reserved;
    EFI_STATUS (EFIAPI *register_notify)(EFI_GUID *, void *, void **);
    EFI_STATUS (EFIAPI *locate_handle)(int, EFI_GUID *, void *, size_t *, EFI_HANDLE *);
    EFI_STATUS (EFIAPI *locate_device_path)(EFI_GUID *, EFI_DEVICE_PATH **, EFI_HANDLE *);
    EFI_STATUS (EFIAPI *install_table)(EFI_GUID *, void *);
    EFI_STATUS (EFIAPI *load_image)(uint8_t, EFI_HANDLE, EFI_DEVICE_PATH *, void *, size_t, EFI_HANDLE *);
    EFI_STATUS (EFIAPI *start_image)(EFI_HANDLE, size_t *, CHAR16 **);
    EFI_STATUS (EFIAPI *exit)(EFI_HANDLE, EFI_STATUS, size_t, CHAR16 *);
    EFI_STATUS (EFIAPI *unload_image)(EFI_HANDLE);
    EFI_STATUS (EFIAPI *exit_boot_services)(EFI_HANDLE, size_t);
    EFI_STATUS (EFIAPI *get_monotonic_count)(uint64_t *);
    EFI_STATUS (EFIAPI *stall)(size_t);
    EFI_STATUS (EFIAPI *set_watchdog)(size_t, uint64_t, size_t, CHAR16 *);
    EFI_STATUS (EFIAPI *connect_controller)(EFI_HANDLE, EFI_HANDLE *, EFI_DEVICE_PATH *, uint8_t);
    EFI_STATUS (EFIAPI *disconnect_controller)(EFI_HANDLE, EFI_HANDLE, EFI_HANDLE);
    EFI_STATUS (EFIAPI *open_protocol)(EFI_HANDLE, EFI_GUID *, void **, EFI_HANDLE, EFI_HANDLE, uint32_t);
    EFI_STATUS (EFIAPI *close_protocol)(EFI_HANDLE, EFI_GUID *, EFI_HANDLE, EFI_HANDLE);
    void *open_protocol_information;
    void *protocols_per_handle;
    EFI_STATUS (EFIAPI *locate_handle_buffer)(int, EFI_GUID *, void *, size_t *, EFI_HANDLE **);
    EFI_STATUS (EFIAPI *locate_protocol)(EFI_GUID *, void *, void **);
    EFI_STATUS (EFIAPI *install_protocols)(EFI_HANDLE *, ...);
    EFI_STATUS (EFIAPI *uninstall_protocols)(EFI_HANDLE, ...);
    EFI_STATUS (EFIAPI *crc32)(void *, size_t, uint32_t *);
    void (EFIAPI *copy_mem)(void *, void *, size_t);
    void (EFIAPI *set_mem)(void *, size_t, uint8_t);
    EFI_STATUS (EFIAPI *create_event_ex)(uint32_t, size_t, void *, void *, EFI_GUID *, void **);
} EFI_BOOT_SERVICES;

typedef struct EFI_RUNTIME_SERVICES {
    EFI_TABLE_HEADER header;
    EFI_STATUS (EFIAPI *get_time)(void *, void *);
    void *set_time, *get_wakeup, *set_wakeup, *set_virtual_map, *convert_pointer;
    EFI_STATUS (EFIAPI *get_variable)(CHAR16 *, EFI_GUID *, uint32_t *, size_t *, void *);
    EFI_STATUS (EFIAPI *get_next_variable)(size_t *, CHAR16 *, EFI_GUID *);
    EFI_STATUS (EFIAPI *set_variable)(CHAR16 *, EFI_GUID *, uint32_t, size_t, void *);
    void *get_high_count;
    void (EFIAPI *reset_system)(int, EFI_STATUS, size_t, void *);
    void *update_capsule, *query_capsule;
    EFI_STATUS (EFIAPI *query_variable_info)(uint32_t, uint64_t *, uint64_t *, uint64_t *);
} EFI_RUNTIME_SERVICES;

typedef struct EFI_FILE {
    uint64_t revision;
    EFI_STATUS (EFIAPI *open)(struct EFI_FILE *, struct EFI_FILE **, CHAR16 *, uint64_t, uint64_t);
    EFI_STATUS (EFIAPI *close)(struct EFI_FILE *);
    EFI_STATUS (EFIAPI *delete)(struct EFI_FILE *);
    EFI_STATUS (EFIAPI *read)(struct EFI_FILE *, size_t *, void *);
    EFI_STATUS (EFIAPI *write)(struct EFI_FILE *, size_t *, void *);
    EFI_STATUS (EFIAPI *get_position)(struct EFI_FILE *, uint64_t *);
    EFI_STATUS (EFIAPI *set_position)(struct EFI_FILE *, uint64_t);
    EFI_STATUS (EFIAPI *get_info)(struct EFI_FILE *, EFI_GUID *, size_t *, void *);
    EFI_STATUS (EFIAPI *set_info)(struct EFI_FILE *, EFI_GUID *, size_t, void *);
    EFI_STATUS (EFIAPI *flush)(struct EFI_FILE *);
} EFI_FILE;

typedef struct EFI_FILE_SYSTEM {
    uint64_t revision;
    EFI_STATUS (EFIAPI *open_volume)(struct EFI_FILE_SYSTEM *, EFI_FILE **);
} EFI_FILE_SYSTEM;

typedef struct {
    uint64_t size, file_size, physical_size;
    uint8_t times[48];
    uint64_t attributes;
    CHAR16 name[];
} EFI_FILE_INFO;

typedef struct {
    uint64_t size;
    uint8_t read_only;
    uint64_t volume_size, free;
    uint32_t block_size;
    CHAR16 label[2];
} EFI_FILE_SYSTEM_INFO;

#define FILE_CREATE (1ULL << 63)
#define FILE_WRITE 2
#define FILE_READ_ONLY 1
#define FILE_DIRECTORY 0x10
#define FILE_ARCHIVE 0x20

typedef struct EFI_LOAD_FILE2 {
    EFI_STATUS (EFIAPI *load)(struct EFI_LOAD_FILE2 *, EFI_DEVICE_PATH *, uint8_t, size_t *, void *);
} EFI_LOAD_FILE2;

enum { PATH_HARDWARE = 1, PATH_ACPI, PATH_MESSAGING, PATH_MEDIA, PATH_END = 0x7f };

#define GUID(a, b, c, ...) ((EFI_GUID){0x##a, 0x##b, 0x##c, {__VA_ARGS__}})
#define LOADED_IMAGE GUID(5b1b31a1, 9562, 11d2, 0x8e, 0x3f, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b)
#define LOADED_IMAGE_PATH GUID(bc62157e, 3e33, 4fec, 0x99, 0x20, 0x2d, 0x3b, 0x36, 0xd7, 0x50, 0xdf)
#define DEVICE_PATH GUID(09576e91, 6d3f, 11d2, 0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b)
#define PATH_TO_TEXT GUID(8b843e20, 8132, 4852, 0x90, 0xcc, 0x55, 0x1a, 0x4e, 0x4a, 0x7f, 0x1c)
#define FILE_SYSTEM GUID(964e5b22, 6459, 11d2, 0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b)
#define BLOCK_IO GUID(964e5b21, 6459, 11d2, 0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b)
#define DISK_IO GUID(ce345171, ba0b, 11d2, 0x8e, 0x4f, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b)
#define ESP_TYPE GUID(c12a7328, f81f, 11d2, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b)
#define XBOOTLDR_TYPE GUID(bc13c2ff, 59e6, 4262, 0xa3, 0x52, 0xb2, 0x75, 0xfd, 0x6f, 0x71, 0x72)
#define FILE_SYSTEM_INFO_ID GUID(09576e93, 6d3f, 11d2, 0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b)
#define FILE_INFO_ID GUID(09576e92, 6d3f, 11d2, 0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b)
#define LOAD_FILE2 GUID(4006c0c1, fcb3, 403e, 0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d)
#define INITRD_MEDIA GUID(5568e427, 68fc, 4f3d, 0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68)
#define TEXT_OUTPUT GUID(387477c2, 69c7, 11d2, 0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b)
#define TEXT_INPUT GUID(387477c1, 69c7, 11d2, 0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b)
#define GRAPHICS_OUTPUT GUID(9042a9de, 23dc, 4a38, 0x96, 0xfb, 0x7a, 0xde, 0xd0, 0x80, 0x51, 0x6a)
#define PCI_IO GUID(4cf5b200, 68b8, 4ca5, 0x9e, 0xec, 0xb2, 0x3e, 0x3f, 0x50, 2, 0x9a)
#define EDID_DISCOVERED GUID(1c0c34f6, d380, 41fa, 0xa0, 0x49, 0x8a, 0xd0, 0x6c, 0x1a, 0x66, 0xaa)
#define TCG2 GUID(607f766c, 7455, 42be, 0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f)
#define CC_MEASUREMENT GUID(96751a3d, 72f4, 41a6, 0xa7, 0x94, 0xed, 0x5d, 0x0e, 0x67, 0xae, 0x6b)
#define RNG GUID(3152bca5, eade, 433d, 0x86, 0x2e, 0xc0, 0x1c, 0xdc, 0x29, 0x1f, 0x44)
#define SMBIOS2 GUID(eb9d2d31, 2d88, 11d3, 0x9a, 0x16, 0, 0x90, 0x27, 0x3f, 0xc1, 0x4d)
#define SMBIOS3 GUID(f2fd1544, 9794, 4a2c, 0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94)
#define DEVICETREE GUID(b1b621d5, f19c, 41a5, 0x83, 0x0b, 0xd9, 0x15, 0x2c, 0x69, 0xaa, 0xe0)
#define DT_FIXUP GUID(e617d64c, fe08, 46da, 0xf4, 0xdc, 0xbb, 0xd5, 0x87, 0x0c, 0x73, 0)
#define SECURITY GUID(a46423e3, 4617, 49f1, 0xb9, 0xff, 0xd1, 0xbf, 0xa9, 0x11, 0x58, 0x39)
#define SECURITY_2 GUID(94ab2f58, 1438, 4ef1, 0x91, 0x52, 0x18, 0x94, 0x1a, 0x3a, 0x0e, 0x68)
#define HII_DATABASE GUID(ef9fc172, a1b2, 4693, 0xb3, 0x27, 0x6d, 0x32, 0xfc, 0x41, 0x60, 0x42)
#define SHELL_PARAMETERS GUID(752f3136, 4e16, 4fdc, 0xa2, 0x2a, 0xe5, 0xf4, 0x68, 0x12, 0xf4, 0xca)
#define GLOBAL_VARIABLE GUID(8be4df61, 93ca, 11d2, 0xaa, 0x0d, 0, 0xe0, 0x98, 3, 0x2b, 0x8c)
