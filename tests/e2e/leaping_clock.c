/* For LD_PRELOAD: the wall clock, as many seconds ahead as the first eight bytes of the file $LEAPING_CLOCK say.
 * Every other clock, CLOCK_BOOTTIME and CLOCK_MONOTONIC among them, goes as it does. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *ahead_seconds;

__attribute__((constructor)) static void open_file(void)
{
    const char *path = getenv("LEAPING_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *ahead_seconds, PROT_READ, MAP_SHARED, file, 0);

    if (page == MAP_FAILED)
        abort();
    ahead_seconds = page;
    close(file);
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = (int)syscall(SYS_clock_gettime, clock, now);

    if (!failed && clock == CLOCK_REALTIME)
        now->tv_sec += (time_t)*ahead_seconds;
    return failed;
}
