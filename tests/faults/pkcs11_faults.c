/*
 * A PKCS#11 module that forwards every call to the real one and goes wrong by rule: for tests only.
 *
 * Two variables of the environment:
 *
 *   PKCS11_FAULTS_MODULE  the real module
 *   PKCS11_FAULTS_RULES   a file of rules, read again whenever it was replaced or changed; none: nothing goes wrong
 *
 * Replace the file by rename(2): a file that is written in place may be read half-written. A line is empty, a comment
 * (#), or one of
 *
 *   counts FILE           at most once, before any rule: where to count, for all processes together. FILE holds two
 *                         64-bit numbers of this machine for each rule, in their order: calls it matched, and calls
 *                         it made go wrong. A FILE too short is made long enough. Without it each process counts for
 *                         itself, and begins again with each reading of the rules.
 *   FUNCTION [0xRV] [before|after] [mechanism=0xM] [older_ms=A] [skip=N] [count=M] [delay_ms=D] [hang] [kill]
 *
 * FUNCTION is the name of one (C_UnwrapKey), or * for each. The first rule that matches a call and is not used up
 * decides; the delays of `*` rules that have nothing but a delay are added to it, so that a slow network can fail, too.
 *
 *   0xRV         what to answer; without it, what the real module answers
 *   before       (unless said) the real module is not called: as if the request had been lost. An operation that was
 *                begun in the session stays begun.
 *   after        the real module is called and its answer lost: what was made, is made
 *   mechanism=   only calls whose mechanism this is: functions with a CK_MECHANISM as their second argument
 *   older_ms=    only calls of processes that loaded this module so long ago: not those of a host that is starting
 *   skip=        let so many matching calls pass first
 *   count=       go wrong so often, then never again
 *   delay_ms=    wait first
 *   hang         never come back
 *   kill         end the process by SIGKILL, before or after the real call
 *
 * A line that is none of these is said on standard error and ends the process: no test may pass by a slip of the pen.
 *
 * The types of PKCS#11 are not used, only what this file needs to know of them (PKCS#11 2.40, section 2, appendix A):
 * CK_FUNCTION_LIST is a version of two bytes and then pointers in a fixed order, each argument of each function is an
 * integer or a pointer, CK_ULONG is `unsigned long`, and CK_MECHANISM begins with its type as a CK_ULONG. On the
 * platforms of this project an argument of either kind travels in one machine word, so that the wrappers below pass
 * words on.
 */

#define _GNU_SOURCE /* the nanoseconds of struct stat, under one name */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long answer; /* CK_RV */
typedef uintptr_t word;       /* an argument of any kind */
typedef void (*function)(void);

_Static_assert(sizeof(word) == sizeof(unsigned long), "CK_ULONG and pointers must be of one size");

#define ANSWER_OK 0x0UL
#define ANSWER_ARGUMENTS_BAD 0x7UL
#define ANSWER_FUNCTION_FAILED 0x6UL
#define MOST_RULES 64

/* Every function of CK_FUNCTION_LIST in its order: F with how many arguments it has and whether the second is a
 * mechanism, or LIST for the one that is not forwarded. */
#define EACH_FUNCTION(F, LIST)                                                                                         \
    F(C_Initialize, 1, 0) F(C_Finalize, 1, 0) F(C_GetInfo, 1, 0) LIST(C_GetFunctionList) F(C_GetSlotList, 3, 0)        \
    F(C_GetSlotInfo, 2, 0) F(C_GetTokenInfo, 2, 0) F(C_GetMechanismList, 3, 0) F(C_GetMechanismInfo, 3, 0)             \
    F(C_InitToken, 4, 0) F(C_InitPIN, 3, 0) F(C_SetPIN, 5, 0) F(C_OpenSession, 5, 0) F(C_CloseSession, 1, 0)           \
    F(C_CloseAllSessions, 1, 0) F(C_GetSessionInfo, 2, 0) F(C_GetOperationState, 3, 0) F(C_SetOperationState, 5, 0)    \
    F(C_Login, 4, 0) F(C_Logout, 1, 0) F(C_CreateObject, 4, 0) F(C_CopyObject, 5, 0) F(C_DestroyObject, 2, 0)          \
    F(C_GetObjectSize, 3, 0) F(C_GetAttributeValue, 4, 0) F(C_SetAttributeValue, 4, 0) F(C_FindObjectsInit, 3, 0)      \
    F(C_FindObjects, 4, 0) F(C_FindObjectsFinal, 1, 0) F(C_EncryptInit, 3, 1) F(C_Encrypt, 5, 0)                       \
    F(C_EncryptUpdate, 5, 0) F(C_EncryptFinal, 3, 0) F(C_DecryptInit, 3, 1) F(C_Decrypt, 5, 0)                         \
    F(C_DecryptUpdate, 5, 0) F(C_DecryptFinal, 3, 0) F(C_DigestInit, 2, 1) F(C_Digest, 5, 0) F(C_DigestUpdate, 3, 0)   \
    F(C_DigestKey, 2, 0) F(C_DigestFinal, 3, 0) F(C_SignInit, 3, 1) F(C_Sign, 5, 0) F(C_SignUpdate, 3, 0)              \
    F(C_SignFinal, 3, 0) F(C_SignRecoverInit, 3, 1) F(C_SignRecover, 5, 0) F(C_VerifyInit, 3, 1) F(C_Verify, 5, 0)     \
    F(C_VerifyUpdate, 3, 0) F(C_VerifyFinal, 3, 0) F(C_VerifyRecoverInit, 3, 1) F(C_VerifyRecover, 5, 0)               \
    F(C_DigestEncryptUpdate, 5, 0) F(C_DecryptDigestUpdate, 5, 0) F(C_SignEncryptUpdate, 5, 0)                         \
    F(C_DecryptVerifyUpdate, 5, 0) F(C_GenerateKey, 5, 1) F(C_GenerateKeyPair, 8, 1) F(C_WrapKey, 6, 1)                \
    F(C_UnwrapKey, 8, 1) F(C_DeriveKey, 6, 1) F(C_SeedRandom, 3, 0) F(C_GenerateRandom, 3, 0)                          \
    F(C_GetFunctionStatus, 1, 0) F(C_CancelFunction, 1, 0) F(C_WaitForSlotEvent, 3, 0)

enum {
#define INDEX(name, arguments, has_mechanism) INDEX_##name,
    #define LIST_INDEX(name) INDEX_##name,
    EACH_FUNCTION(INDEX, LIST_INDEX)
#undef LIST_INDEX
#undef INDEX
    FUNCTIONS,
    ANY_FUNCTION = FUNCTIONS
};

static const char *const names[FUNCTIONS] = {
#define NAME(name, arguments, has_mechanism) #name,
    #define LIST_NAME(name) #name,
    EACH_FUNCTION(NAME, LIST_NAME)
#undef LIST_NAME
#undef NAME
};

struct function_list {
    unsigned char version[2];
    function functions[FUNCTIONS];
};

static const struct function_list *real;

/* --- rules ------------------------------------------------------------------------------------------------------- */

struct rule {
    int function;
    bool answers, is_after, hangs, kills, wants_mechanism, is_bounded;
    answer answer;
    unsigned long mechanism;
    uint64_t skip, count;
    unsigned long delay_ms, older_ms;
};

struct counter {
    _Atomic uint64_t matched, wrong;
};

/* What is to happen in one call; all zeros: nothing. */
struct verdict {
    struct rule rule;
    unsigned long delay_ms;
};

static struct {
    pthread_mutex_t mutex;
    struct timespec changed;
    ino_t file;
    off_t size;
    int rules;
    struct rule rule[MOST_RULES];
    struct counter own[MOST_RULES];
    struct counter *counters;
    void *mapped;
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER, .counters = state.own};

static _Noreturn void give_up(const char *what, const char *which) {
    fprintf(stderr, "pkcs11_faults: %s: %s\n", what, which);
    abort();
}

static unsigned long number(const char *text, int base) {
    char *end = NULL;
    errno = 0;
    const unsigned long value = strtoul(text, &end, base);
    if (errno != 0 || end == text || *end != '\0') {
        give_up("not a number", text);
    }
    return value;
}

static int function_called(const char *name) {
    if (strcmp(name, "*") == 0) {
        return ANY_FUNCTION;
    }
    for (int index = 0; index < FUNCTIONS; index++) {
        if (strcmp(name, names[index]) == 0) {
            return index;
        }
    }
    give_up("no function of PKCS#11 2.40", name);
}

static const char *after_prefix(const char *text, const char *prefix) {
    const size_t length = strlen(prefix);
    return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

static void read_word(struct rule *rule, const char *text) {
    const char *value = NULL;
    if (after_prefix(text, "0x") != NULL) {
        rule->answers = true;
        rule->answer = number(text, 16);
    } else if (strcmp(text, "before") == 0 || strcmp(text, "after") == 0) {
        rule->is_after = text[0] == 'a';
    } else if (strcmp(text, "hang") == 0) {
        rule->hangs = true;
    } else if (strcmp(text, "kill") == 0) {
        rule->kills = true;
    } else if ((value = after_prefix(text, "mechanism=")) != NULL) {
        rule->wants_mechanism = true;
        rule->mechanism = number(value, 16);
    } else if ((value = after_prefix(text, "skip=")) != NULL) {
        rule->skip = number(value, 10);
    } else if ((value = after_prefix(text, "count=")) != NULL) {
        rule->is_bounded = true;
        rule->count = number(value, 10);
    } else if ((value = after_prefix(text, "delay_ms=")) != NULL) {
        rule->delay_ms = number(value, 10);
    } else if ((value = after_prefix(text, "older_ms=")) != NULL) {
        rule->older_ms = number(value, 10);
    } else {
        give_up("not a word of a rule", text);
    }
}

/* Count in `path` from now on. The file is mapped for good: other threads may still count in it. */
static void count_in(const char *path) {
    const size_t size = sizeof(state.own);
    const int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) != 0 ||
        (status.st_size < (off_t)size && ftruncate(descriptor, (off_t)size) != 0)) {
        give_up("cannot be written", path);
    }
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (mapped == MAP_FAILED) {
        give_up("cannot be mapped", path);
    }
    state.counters = state.mapped = mapped;
}

static void read_line(char *line) {
    char *rest = NULL;
    const char *first = strtok_r(line, " \t\n", &rest);
    if (first == NULL || first[0] == '#') {
        return;
    }
    if (strcmp(first, "counts") == 0) {
        const char *path = strtok_r(NULL, "\n", &rest);
        if (path == NULL || state.rules != 0 || state.counters != state.own) {
            give_up("counts wants a file, once, before any rule", first);
        }
        count_in(path);
        return;
    }
    if (state.rules == MOST_RULES) {
        give_up("too many rules", first);
    }
    struct rule *rule = &state.rule[state.rules++];
    *rule = (struct rule){.function = function_called(first)};
    for (const char *text; (text = strtok_r(NULL, " \t\n", &rest)) != NULL;) {
        read_word(rule, text);
    }
}

/* Read the rules if they are others than before; called with the mutex held. */
static void refresh(void) {
    const char *path = getenv("PKCS11_FAULTS_RULES");
    struct stat status;
    if (path == NULL || stat(path, &status) != 0) {
        status = (struct stat){0};
    }
    if (status.st_mtim.tv_sec == state.changed.tv_sec && status.st_mtim.tv_nsec == state.changed.tv_nsec &&
        status.st_ino == state.file && status.st_size == state.size) {
        return;
    }
    state.changed = status.st_mtim;
    state.file = status.st_ino;
    state.size = status.st_size;
    state.rules = 0;
    state.counters = state.own;
    memset(state.own, 0, sizeof(state.own));
    FILE *file = status.st_ino == 0 ? NULL : fopen(path, "re");
    if (file == NULL) {
        return;
    }
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) >= 0) {
        read_line(line);
    }
    free(line);
    fclose(file);
}

static struct timespec loaded;

static bool is_old_enough(const struct rule *rule) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - loaded.tv_sec) * 1000 + (now.tv_nsec - loaded.tv_nsec) / 1000000 >= (long)rule->older_ms;
}

static bool is_only_slow(const struct rule *rule) {
    return rule->function == ANY_FUNCTION && !rule->answers && !rule->hangs && !rule->kills;
}

static bool matches(const struct rule *rule, int index, const unsigned long *mechanism) {
    return (rule->function == index || rule->function == ANY_FUNCTION) &&
           (!rule->wants_mechanism || (mechanism != NULL && *mechanism == rule->mechanism)) &&
           (rule->older_ms == 0 || is_old_enough(rule));
}

/* Count one call that a rule matches, and tell whether the rule is to act. */
static bool is_its_turn(const struct rule *rule, struct counter *counter) {
    const uint64_t earlier = atomic_fetch_add(&counter->matched, 1);
    if (earlier < rule->skip || (rule->is_bounded && earlier - rule->skip >= rule->count)) {
        return false;
    }
    atomic_fetch_add(&counter->wrong, 1);
    return true;
}

static struct verdict judge(int index, const unsigned long *mechanism) {
    struct verdict verdict = {0};
    bool decided = false;
    pthread_mutex_lock(&state.mutex);
    refresh();
    for (int each = 0; each < state.rules; each++) {
        const struct rule *rule = &state.rule[each];
        if (!matches(rule, index, mechanism) || (decided && !is_only_slow(rule)) ||
            !is_its_turn(rule, &state.counters[each])) {
            continue;
        }
        verdict.delay_ms += rule->delay_ms;
        if (!is_only_slow(rule)) {
            verdict.rule = *rule;
            decided = true;
        }
    }
    pthread_mutex_unlock(&state.mutex);
    return verdict;
}

/* --- calls ------------------------------------------------------------------------------------------------------- */

static void wait_for(unsigned long milliseconds) {
    struct timespec left = {.tv_sec = (time_t)(milliseconds / 1000), .tv_nsec = (long)(milliseconds % 1000) * 1000000L};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static void strike(const struct rule *rule) {
    if (rule->kills) {
        raise(SIGKILL);
    }
    while (rule->hangs) {
        pause();
    }
}

/* Return whether the real module is to be called. */
static bool passes(const struct verdict *verdict) {
    if (verdict->delay_ms != 0) {
        wait_for(verdict->delay_ms);
    }
    if (!verdict->rule.is_after) {
        strike(&verdict->rule);
    }
    return verdict->rule.is_after || !verdict->rule.answers;
}

static answer answered(const struct verdict *verdict, answer said) {
    if (verdict->rule.is_after) {
        strike(&verdict->rule);
    }
    return verdict->rule.answers ? verdict->rule.answer : said;
}

#define WORDS_1 word a
#define WORDS_2 WORDS_1, word b
#define WORDS_3 WORDS_2, word c
#define WORDS_4 WORDS_3, word d
#define WORDS_5 WORDS_4, word e
#define WORDS_6 WORDS_5, word f
#define WORDS_8 WORDS_6, word g, word h
#define PASS_1 a
#define PASS_2 PASS_1, b
#define PASS_3 PASS_2, c
#define PASS_4 PASS_3, d
#define PASS_5 PASS_4, e
#define PASS_6 PASS_5, f
#define PASS_8 PASS_6, g, h
#define MECHANISM_0 NULL
#define MECHANISM_1 ((const unsigned long *)b)

#define WRAPPER(name, arguments, has_mechanism)                                                                        \
    static answer faulty_##name(WORDS_##arguments) {                                                                   \
        const struct verdict verdict = judge(INDEX_##name, MECHANISM_##has_mechanism);                                 \
        answer said = verdict.rule.answer;                                                                             \
        if (passes(&verdict)) {                                                                                        \
            said = ((answer(*)(WORDS_##arguments))real->functions[INDEX_##name])(PASS_##arguments);                    \
        }                                                                                                              \
        return answered(&verdict, said);                                                                               \
    }
#define NOT_WRAPPED(name)
EACH_FUNCTION(WRAPPER, NOT_WRAPPED)
#undef NOT_WRAPPED
#undef WRAPPER

extern answer C_GetFunctionList(struct function_list **list);

static struct function_list faulty = {
    .functions = {
#define ENTRY(name, arguments, has_mechanism) [INDEX_##name] = (function)faulty_##name,
#define LIST_ENTRY(name) [INDEX_##name] = (function)name,
        EACH_FUNCTION(ENTRY, LIST_ENTRY)
#undef LIST_ENTRY
#undef ENTRY
    },
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    clock_gettime(CLOCK_MONOTONIC, &loaded);
    const char *path = getenv("PKCS11_FAULTS_MODULE");
    void *module = path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL) {
        fprintf(stderr, "pkcs11_faults: PKCS11_FAULTS_MODULE: %s\n", path == NULL ? "not set" : dlerror());
        return;
    }
    answer (*get_list)(const struct function_list **) = NULL;
    *(void **)&get_list = dlsym(module, "C_GetFunctionList");
    const struct function_list *list = NULL;
    if (get_list == NULL || get_list(&list) != ANSWER_OK) {
        fprintf(stderr, "pkcs11_faults: no list of functions: %s\n", path);
        return;
    }
    memcpy(faulty.version, list->version, sizeof(faulty.version));
    real = list;
}

/* The one function that callers find by its name. */
__attribute__((visibility("default"))) answer C_GetFunctionList(struct function_list **list) {
    if (list == NULL) {
        return ANSWER_ARGUMENTS_BAD;
    }
    pthread_once(&once, load);
    if (real == NULL) {
        return ANSWER_FUNCTION_FAILED;
    }
    *list = &faulty;
    return ANSWER_OK;
}
