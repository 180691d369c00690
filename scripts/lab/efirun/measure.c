#include "efirun.h"

#include <stdlib.h>
#include <string.h>

typedef struct Measurement {
    struct Measurement *next;
    const char *by;
    uint32_t index, type;
    Bytes event, data;
} Measurement;

typedef struct {
    uint32_t size, header_size;
    uint16_t header_version;
    uint32_t index, type;
    uint8_t event[];
} __attribute__((packed)) Event;

static Measurement *first, **last = &first;

static Bytes copied(const void *data, size_t size) {
    Bytes copy = {malloc(size + 1), size, true};
    memcpy(copy.data, data, size);
    return copy;
}

static EFI_STATUS record(const char *by, uint64_t data, uint64_t size, const Event *event) {
    if (!event || event->size < sizeof *event || event->header_size != 14 || (size && !data))
        return EFI_INVALID_PARAMETER;
    Measurement *m = calloc(1, sizeof *m);
    *m = (Measurement) {NULL, by, event->index, event->type, copied(event->event, event->size - sizeof *event),
                        copied((void *) data, size)};
    *last = m;
    last = &m->next;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI tcg2_capability(void *this, uint8_t *capability) {
    struct {
        uint8_t size, structure[2], protocol[2];
        uint32_t algorithms, logs;
        uint8_t present;
        uint16_t command, response;
        uint32_t manufacturer, n_banks, banks;
    } row = {sizeof row, {1, 1}, {1, 1}, machine.banks, 3, 1, 4096, 4096, 0x1014, 0, machine.banks};
    (void) this;
    if (*capability < sizeof row) {
        *capability = sizeof row;
        return EFI_BUFFER_TOO_SMALL;
    }
    row.n_banks = __builtin_popcount(machine.banks);
    memcpy(capability, &row, sizeof row);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI event_log(void *this, uint32_t format, uint64_t *start, uint64_t *end, uint8_t *cut) {
    (void) this, (void) format;
    *start = *end = 0;
    *cut = 0;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI tcg2_extend(void *this, uint64_t flags, uint64_t data, uint64_t size, Event *event) {
    (void) this, (void) flags;
    return record("tcg2", data, size, event);
}

static EFI_STATUS EFIAPI active_banks(void *this, uint32_t *banks) {
    (void) this;
    *banks = machine.banks;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI unsupported(void) {
    return EFI_UNSUPPORTED;
}

static EFI_STATUS EFIAPI cc_capability(void *this, uint8_t *capability) {
    struct {
        uint8_t size, structure[2], protocol[2];
        uint32_t algorithms, logs;
        uint8_t type, subtype;
    } row = {sizeof row, {1, 0}, {1, 0}, 4, 2, 2, 0};
    (void) this;
    if (*capability < sizeof row)
        return EFI_BUFFER_TOO_SMALL;
    memcpy(capability, &row, sizeof row);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI cc_extend(void *this, uint64_t flags, uint64_t data, uint64_t size, Event *event) {
    (void) this, (void) flags;
    return record("cc", data, size, event);
}

/* UEFI 2.10, 38.4.1, of TDX; the register's own number, which is one more than the RTMR's. */
static EFI_STATUS EFIAPI cc_map(void *this, uint32_t pcr, uint32_t *index) {
    (void) this;
    if (pcr > 15)
        return EFI_INVALID_PARAMETER;
    *index = pcr == 0 ? 0 : pcr == 1 || pcr == 7 ? 1 : pcr < 7 ? 2 : 3;
    return EFI_SUCCESS;
}

void measure_init(void) {
    static void *tcg2[] = {tcg2_capability, event_log, tcg2_extend, unsupported, active_banks, unsupported, unsupported};
    static void *cc[] = {cc_capability, event_log, cc_extend, cc_map};
    if (machine.tpm)
        handle_install(handle_new(), TCG2, tcg2);
    if (!strcmp(machine.cpu, "tdx"))
        handle_install(handle_new(), CC_MEASUREMENT, cc);
}

void measurements_report(FILE *out) {
    fputs("\"measurements\": [", out);
    for (Measurement *m = first; m; m = m->next) {
        fprintf(out, "{\"by\": \"%s\", \"index\": %u, \"type\": %u, ", m->by, m->index, m->type);
        print_hex(out, "event", m->event.data, m->event.size, ", ");
        print_hex(out, "data", m->data.data, m->data.size, m->next ? "}, " : "}");
    }
    fputs("]", out);
}
