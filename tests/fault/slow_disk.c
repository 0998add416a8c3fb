/* slow_disk.c: LD_PRELOADed into a server, makes its disk one that stalls: fsync and fdatasync wait
 * as long as the file named by $SLOW_DISK is there. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void stall(void)
{
    const char *path = getenv("SLOW_DISK");
    while (path != NULL && access(path, F_OK) == 0) {
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    }
}

int fsync(int fd)
{
    stall();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    stall();
    return (int)syscall(SYS_fdatasync, fd);
}
