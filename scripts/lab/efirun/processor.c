/* mcontext's registers by name. */
#define _GNU_SOURCE
#include "efirun.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#ifdef __x86_64__

enum { ILLEGAL_CPUID = 0x0b0f, CPUID = 0xa20f, RDMSR = 0x320f };

static EFIAPI void kernel_by_entry(EFI_HANDLE image, EFI_SYSTEM_TABLE *system) {
    (void) system;
    kernel_started(image, "entry point", NULL);
}

static void kernel_by_handover(EFI_HANDLE image, EFI_SYSTEM_TABLE *system, void *setup) {
    (void) system;
    kernel_started(image, "EFI handover", setup);
}

/* CPUID cannot be made to trap in a guest without help, so it becomes UD2, as long. */
void processor_hide_cpuid(uint8_t *code, size_t size) {
    for (size_t i = 0; i + 1 < size; i++)
        if (code[i] == (CPUID & 0xff) && code[i + 1] == CPUID >> 8)
            code[i + 1] = ILLEGAL_CPUID >> 8;
}

/* Leaf 0 names the vendor; 1 tells of a hypervisor; SEV is 0x8000001f, TDX leaf 0x21 (systemd, confidential-virt). */
static void cpuid(greg_t *r) {
    bool snp = !strcmp(machine.cpu, "sev-snp"), tdx = !strcmp(machine.cpu, "tdx");
    uint32_t leaf = r[REG_RAX], out[4] = {0};
    switch (leaf) {
    case 0:
        out[0] = 0x21;
        memcpy(out + 1, snp ? "AuthcAMDenti" : "GenuntelineI", 12);
        break;
    case 1:
        out[2] = strcmp(machine.cpu, "none") ? 1U << 31 : 0;
        break;
    case 0x21:
        if (tdx)
            memcpy(out + 1, "Inte    lTDX", 12);
        break;
    case 0x40000000:
        out[0] = 0x40000001;
        memcpy(out + 1, "KVMKVMKVM\0\0\0", 12);
        break;
    case 0x80000000:
        out[0] = 0x8000001f;
        break;
    case 0x8000001f:
        out[0] = snp ? 2 : 0;
        break;
    }
    r[REG_RAX] = out[0];
    r[REG_RBX] = out[1];
    r[REG_RCX] = out[2];
    r[REG_RDX] = out[3];
}

static void rdmsr(greg_t *r) {
    bool status = (uint32_t) r[REG_RCX] == 0xc0010131 && !strcmp(machine.cpu, "sev-snp");
    r[REG_RAX] = status ? 7 : 0;
    r[REG_RDX] = 0;
}

/* The bytes of an access to a port by AL, as the timer that beeps needs it, else 0; there is nothing behind any port. */
static size_t port_access(greg_t *r, uint8_t opcode) {
    enum { BY_DX = 8, OUT = 2 };
    if ((opcode & ~(BY_DX | OUT)) != 0xe4)
        return 0;
    if (!(opcode & OUT))
        r[REG_RAX] |= 0xff;
    return opcode & BY_DX ? 1 : 2;
}

static bool enter_kernel(greg_t *r) {
    if (r[REG_RDX] == (greg_t) &system_table)
        r[REG_RIP] = (greg_t) kernel_by_entry;
    else if (r[REG_RSI] == (greg_t) &system_table)
        r[REG_RIP] = (greg_t) kernel_by_handover;
    else
        return false;
    return true;
}

static void on_signal(int number, siginfo_t *info, void *context) {
    greg_t *r = ((ucontext_t *) context)->uc_mcontext.gregs;
    uint8_t *at = (uint8_t *) r[REG_RIP];
    if (number == SIGSEGV && info->si_addr == at && in_arena(at) && enter_kernel(r))
        return;
    uint16_t instruction = in_arena(at) && info->si_addr != at ? at[0] | at[1] << 8 : 0;
    if (number == SIGILL && in_arena(at))
        instruction = at[0] | at[1] << 8;
    size_t port = number == SIGSEGV ? port_access(r, instruction & 0xff) : 0;
    if (port) {
        r[REG_RIP] += port;
        return;
    }
    if (instruction == ILLEGAL_CPUID && number == SIGILL)
        cpuid(r);
    else if (instruction == RDMSR)
        rdmsr(r);
    else if ((instruction & 0xff) == 0xf4)
        finish("halted", 0);
    else
        finish("crashed", (uintptr_t) info->si_addr);
    r[REG_RIP] += 2;
}

#else

static void kernel_by_entry(EFI_HANDLE image, EFI_SYSTEM_TABLE *system) {
    (void) system;
    kernel_started(image, "entry point", NULL);
}

void processor_hide_cpuid(uint8_t *code, size_t size) {
    __builtin___clear_cache((char *) code, (char *) code + size);
}

static void on_signal(int number, siginfo_t *info, void *context) {
    mcontext_t *r = &((ucontext_t *) context)->uc_mcontext;
    void *at = (void *) r->pc;
    if (number == SIGSEGV && in_arena(at) && r->regs[1] == (uintptr_t) &system_table) {
        r->pc = (uintptr_t) kernel_by_entry;
        return;
    }
    finish("crashed", (uintptr_t) info->si_addr);
}

#endif

void processor_init(void) {
    static const int signals[] = {SIGSEGV, SIGILL, SIGBUS, SIGFPE, SIGTRAP, SIGSYS};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    stack_t stack = {.ss_sp = malloc(1 << 18), .ss_size = 1 << 18};
    sigaltstack(&stack, NULL);
    for (size_t i = 0; i < N_ELEMENTS(signals); i++)
        sigaction(signals[i], &action, NULL);
}
