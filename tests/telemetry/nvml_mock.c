/* A libnvidia-ml.so.1 that answers from environment variables.

   MOCK_<call>_<n> or MOCK_<call> is the answer of a call for GPU n (1 is 0000:41:00.0, 2 is 0000:42:00.0): a number, or
   `!15` for the error 15. MOCK_ALL_<n> answers every call for that GPU. What is not set is "Not Supported". Field values
   are calls named F<id>; types as nvml.h. Calls that are not here are functions that this driver does not have.

   Prototypes: nvml.h, as nvidia-ml-py calls them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOT_SUPPORTED 3
#define NOT_FOUND 6

static int parse(const char *text, unsigned long long *value)
{
    if (text[0] == '!')
        return atoi(text + 1);
    *value = strtoull(text, NULL, 0);
    return 0;
}

static int look(void *gpu, const char *call, unsigned long long *value)
{
    char name[96];
    const char *text;
    snprintf(name, sizeof name, "MOCK_ALL_%ld", (long)gpu);
    if ((text = getenv(name)) != NULL)
        return parse(text, value);
    snprintf(name, sizeof name, "MOCK_%s_%ld", call, (long)gpu);
    if ((text = getenv(name)) != NULL)
        return parse(text, value);
    snprintf(name, sizeof name, "MOCK_%s", call);
    return (text = getenv(name)) != NULL ? parse(text, value) : NOT_SUPPORTED;
}

int nvmlInitWithFlags(unsigned flags)
{
    unsigned long long none;
    const char *text = getenv("MOCK_Init");
    (void)flags;
    return text ? parse(text, &none) : 0;
}

int nvmlShutdown(void) { return 0; }

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **gpu)
{
    unsigned long long none;
    const char *text = getenv("MOCK_Handle");
    long number = !strcmp(bus, "0000:41:00.0") ? 1 : !strcmp(bus, "0000:42:00.0") ? 2 : 0;
    *gpu = (void *)number;
    return number == 0 ? NOT_FOUND : text ? parse(text, &none) : 0;
}

#define NUMBER(call, type) \
    int nvmlDeviceGet##call(void *gpu, type *out) \
    { unsigned long long v = 0; int error = look(gpu, #call, &v); *out = (type)v; return error; }
#define OF_KIND(call, type) \
    int nvmlDeviceGet##call(void *gpu, int kind, type *out) \
    { char name[64]; unsigned long long v = 0; snprintf(name, sizeof name, #call "%d", kind); \
      int error = look(gpu, name, &v); *out = (type)v; return error; }

NUMBER(PowerUsage, unsigned)
NUMBER(EnforcedPowerLimit, unsigned)
NUMBER(FanSpeed, unsigned)
NUMBER(PerformanceState, unsigned)
NUMBER(CurrPcieLinkGeneration, unsigned)
NUMBER(CurrPcieLinkWidth, unsigned)
NUMBER(PcieReplayCounter, unsigned)
NUMBER(TotalEnergyConsumption, unsigned long long)
OF_KIND(Temperature, unsigned)
OF_KIND(ClockInfo, unsigned)
#ifdef OLD_NAMES
NUMBER(CurrentClocksThrottleReasons, unsigned long long)
#else
NUMBER(CurrentClocksEventReasons, unsigned long long)
#endif

int nvmlDeviceGetViolationStatus(void *gpu, int policy, unsigned long long out[2])
{
    char name[64];
    snprintf(name, sizeof name, "ViolationStatus%d", policy);
    return look(gpu, name, &out[1]);
}

int nvmlDeviceGetMemoryInfo(void *gpu, unsigned long long out[3]) /* total, free, used */
{
    out[0] = 24ull << 30;
    return look(gpu, "MemoryUsed", &out[2]);
}

int nvmlDeviceGetUtilizationRates(void *gpu, unsigned out[2])
{
    unsigned long long v = 0;
    int error = look(gpu, "Utilization", &v);
    out[0] = v / 1000;
    out[1] = v % 1000;
    return error;
}

#ifndef OLD_NAMES
struct field {
    unsigned id, scope;
    long long timestamp, latency;
    int type, error;
    unsigned long long value;
};

int nvmlDeviceGetFieldValues(void *gpu, int count, struct field *fields)
{
    for (int i = 0; i < count; i++) {
        char name[16];
        unsigned id = fields[i].id;
        snprintf(name, sizeof name, "F%u", id);
        fields[i].value = 0;
        fields[i].error = look(gpu, name, &fields[i].value);
        fields[i].type = id == 82 || id == 94 || id == 185 || id == 186 ? 1 : 3;
    }
    return 0;
}
#endif
