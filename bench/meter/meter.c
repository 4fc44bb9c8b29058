// meter runs a command and writes to descriptor 3 what it cost: wall time and CPU time in microseconds, and the peak
// memory of the largest process in KiB. Linux counts in the peak of a process what its parent held when it was started, so
// the parent must be small: this one is linked statically and holds less than any tool that is measured.
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <fcntl.h>

extern char **environ;

static long long micros(struct timeval t) { return t.tv_sec * 1000000LL + t.tv_usec; }

int main(int argc, char **argv) {
	struct timespec begun, ended;
	struct rusage usage;
	pid_t pid;
	int status;

	if (argc < 2 || fcntl(3, F_SETFD, FD_CLOEXEC) != 0)
		return 125;
	clock_gettime(CLOCK_MONOTONIC, &begun);
	if (posix_spawnp(&pid, argv[1], NULL, NULL, argv + 1, environ) != 0) {
		perror(argv[1]);
		return 127;
	}
	if (wait4(pid, &status, 0, &usage) != pid)
		return 125;
	clock_gettime(CLOCK_MONOTONIC, &ended);
	dprintf(3, "%lld %lld %ld\n", (ended.tv_sec - begun.tv_sec) * 1000000LL + (ended.tv_nsec - begun.tv_nsec) / 1000,
		micros(usage.ru_utime) + micros(usage.ru_stime), usage.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
