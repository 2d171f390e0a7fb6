/* An NVML with devices of a test: the facts of a recorded machine, told through the real interface.
 *
 * NVML_FACTS holds lines: "init STATUS", "gpu UUID CAPABILITY TOTAL FREE NAME" (the name to the
 * line's end), "holds GPU PID BYTES" (-1: not available).  It is read at each call.
 * Structures and numbers are nvml.h's.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID = 2, TOO_SMALL = 7, MOST = 16 };

typedef struct { char uuid[64], name[96]; int major, minor; unsigned long long total, free; } gpu;
typedef struct { unsigned int pid; unsigned long long used; unsigned int instance, compute; } process;

static gpu gpus[MOST];
static int count, status;

static void look(int wanted, process *room, unsigned int *found) {
    const char *at = getenv("NVML_FACTS");
    char line[256];
    count = status = 0;
    if (found) *found = 0;
    while (at && *at) {
        size_t length = strcspn(at, "\n");
        snprintf(line, sizeof line, "%.*s", (int)length, at);
        at += length + (at[length] == '\n');
        gpu *next = &gpus[count < MOST ? count : MOST - 1];
        int on, capability;
        long long bytes;
        unsigned int pid;
        if (sscanf(line, "init %d", &status) == 1) continue;
        if (sscanf(line, "gpu %63s %d %llu %llu %95[^\n]", next->uuid, &capability, &next->total,
                   &next->free, next->name) == 5) {
            next->major = capability / 10;
            next->minor = capability % 10;
            count++;
        } else if (sscanf(line, "holds %d %u %lld", &on, &pid, &bytes) == 3 && on == wanted && found) {
            if (room) room[*found] = (process){pid, (unsigned long long)bytes, ~0u, ~0u};
            (*found)++;
        }
    }
}

int nvmlInitWithFlags(unsigned int flags) { look(-1, NULL, NULL); return status; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : "Unknown Error"; }
int nvmlDeviceGetCount_v2(unsigned int *number) { look(-1, NULL, NULL); *number = count; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    if ((int)index >= count) return INVALID;
    *handle = (void *)(uintptr_t)(index + 1);
    return OK;
}

static gpu *of(void *handle) { look(-1, NULL, NULL); return &gpus[(uintptr_t)handle - 1]; }

int nvmlDeviceGetName(void *handle, char *name, unsigned int size) {
    snprintf(name, size, "%s", of(handle)->name);
    return OK;
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned int size) {
    snprintf(uuid, size, "%s", of(handle)->uuid);
    return OK;
}

int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *memory) {
    gpu *it = of(handle);
    if (it->total == 0) return INVALID;
    memory[0] = it->total;
    memory[1] = it->free;
    memory[2] = it->total - it->free;
    return OK;
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    *major = of(handle)->major;
    *minor = of(handle)->minor;
    return OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned int *number, process *room) {
    unsigned int found = 0, most = *number;
    int index = (int)((uintptr_t)handle - 1);
    look(index, NULL, &found);
    *number = found;
    if (found > most) return TOO_SMALL;
    look(index, room, number);
    return OK;
}
