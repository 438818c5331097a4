/* libhiprtc.so: "compiles" by writing the options and the text behind a word that hip.c knows. A text that contains
 * `#error` does not compile; one that contains `CRASH`, `HANG` or `CHATTER` makes the compiler do so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct program { char *text, *log, *code; size_t size; };

int hiprtcVersion(int *major, int *minor) { *major = 9; *minor = 0; return 0; }
int hiprtcCreateProgram(struct program **out, const char *text, const char *name, int headers, const char **sources,
    const char **names) {
    struct program *p = calloc(1, sizeof *p);
    (void)name; (void)headers; (void)sources; (void)names;
    p->text = strdup(text);
    p->log = strdup("");
    *out = p;
    return 0;
}
int hiprtcCompileProgram(struct program *p, int count, const char **options) {
    FILE *out = open_memstream(&p->code, &p->size);
    int arch = 0;
    fprintf(out, "MOCK CODE OBJECT\n");
    for (int i = 0; i < count; i++) {
        fprintf(out, "%s\n", options[i]);
        arch |= !strncmp(options[i], "--offload-arch=gfx", 18);
    }
    fputs(p->text, out);
    fclose(out);
    if (strstr(p->text, "CRASH")) abort();
    if (strstr(p->text, "HANG")) sleep(600);
    if (strstr(p->text, "CHATTER")) { printf("hiprtc says hello on standard output\n"); fflush(stdout); }
    free(p->log);
    p->log = strdup(strstr(p->text, "#error") ? "mock.cu:1:2: error: as told\n" : arch ? "a warning\n" : "no arch\n");
    return strstr(p->text, "#error") || !arch ? 6 : 0; /* HIPRTC_ERROR_COMPILATION */
}
int hiprtcGetCodeSize(struct program *p, size_t *size) { *size = p->size; return 0; }
int hiprtcGetCode(struct program *p, char *code) { memcpy(code, p->code, p->size); return 0; }
int hiprtcGetProgramLogSize(struct program *p, size_t *size) { *size = strlen(p->log) + 1; return 0; }
int hiprtcGetProgramLog(struct program *p, char *log) { strcpy(log, p->log); return 0; }
int hiprtcDestroyProgram(struct program **p) { (void)p; return 0; }
