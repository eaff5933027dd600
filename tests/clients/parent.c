/* A parent of workers that does what servers do to themselves before they start any.
 *
 *   parent title N SCRIPT    writes over its environment, as setproctitle does, and waits for its workers
 *   parent detach N SCRIPT   detaches each worker by a double fork, and ends: the workers' parent is then another
 *
 * Each of the N workers is `sh -c SCRIPT`. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* As simple programs do it: all memory from the first argument to the end of the last variable is the title's. */
static void hide_environment(char *begin) {
    char *copies[4096], *end = begin;
    int count = 0;
    for (char **entry = environ; *entry && count < 4095; entry++, count++) {
        copies[count] = strdup(*entry);
        end = *entry + strlen(*entry) + 1;
    }
    environ = calloc(count + 1, sizeof *environ);
    memcpy(environ, copies, count * sizeof *environ);
    memset(begin, 0, end - begin);
    strcpy(begin, "a title");
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 64;
    int detach = !strcmp(argv[1], "detach"), count = atoi(argv[2]);
    char *script = strdup(argv[3]);
    if (!detach)
        hide_environment(argv[0]);
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child) {
            if (detach)
                waitpid(child, NULL, 0);
            continue;
        }
        if (detach) {
            setsid();
            if (fork())
                _exit(0);
            /* Until init, or whoever takes orphans, is the parent. */
            while (getppid() == getpgrp())
                usleep(1000);
        }
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    while (!detach && wait(NULL) > 0) {
    }
    return 0;
}
