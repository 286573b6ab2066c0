/*
 * A disk that is full while a file is there, for LD_PRELOAD: for tests only.
 *
 *   FULL_DISK_FLAG    while this file exists, whatever would make a file below longer fails with ENOSPC
 *   FULL_DISK_PREFIX  what the paths of those files begin with
 *
 * Writes into what a file already has are let through, as a full disk lets them through.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Tell whether a file may not end at `end`; sets errno if so. */
static bool is_full(int descriptor, off64_t end) {
    const char *flag = getenv("FULL_DISK_FLAG");
    const char *prefix = getenv("FULL_DISK_PREFIX");
    if (flag == NULL || prefix == NULL || access(flag, F_OK) != 0) {
        return false;
    }
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
    const ssize_t length = readlink(link, path, sizeof(path) - 1);
    struct stat64 status;
    if (length < (ssize_t)strlen(prefix) || strncmp(path, prefix, strlen(prefix)) != 0 ||
        fstat64(descriptor, &status) != 0 || end <= status.st_size) {
        return false;
    }
    errno = ENOSPC;
    return true;
}

/* Each function has its twin for 64-bit offsets; programs are linked against either. */
#define WRAP_PWRITE(name, offset_type)                                                                                 \
    ssize_t name(int descriptor, const void *bytes, size_t size, offset_type offset) {                                 \
        static ssize_t (*forward)(int, const void *, size_t, offset_type);                                             \
        if (forward == NULL) {                                                                                         \
            *(void **)&forward = dlsym(RTLD_NEXT, #name);                                                              \
        }                                                                                                              \
        return is_full(descriptor, offset + (off64_t)size) ? -1 : forward(descriptor, bytes, size, offset);            \
    }

#define WRAP_FTRUNCATE(name, offset_type)                                                                              \
    int name(int descriptor, offset_type size) {                                                                       \
        static int (*forward)(int, offset_type);                                                                       \
        if (forward == NULL) {                                                                                         \
            *(void **)&forward = dlsym(RTLD_NEXT, #name);                                                              \
        }                                                                                                              \
        return is_full(descriptor, size) ? -1 : forward(descriptor, size);                                             \
    }

WRAP_PWRITE(pwrite, off_t)
WRAP_PWRITE(pwrite64, off64_t)
WRAP_FTRUNCATE(ftruncate, off_t)
WRAP_FTRUNCATE(ftruncate64, off64_t)

ssize_t write(int descriptor, const void *bytes, size_t size) {
    static ssize_t (*forward)(int, const void *, size_t);
    if (forward == NULL) {
        *(void **)&forward = dlsym(RTLD_NEXT, "write");
    }
    const off64_t at = lseek64(descriptor, 0, SEEK_CUR);
    return at >= 0 && is_full(descriptor, at + (off64_t)size) ? -1 : forward(descriptor, bytes, size);
}
