/* fuzz_replay.h - runs a fuzz target over files and folders, so that the corpus is replayed without a fuzzer.
 *
 * With -DFUZZ_REPLAY a target gets a plain main that takes them on the command line; a unit test defines
 * FUZZ_REPLAY_IN_TEST, includes the target and calls replay itself. libFuzzer needs neither and brings a main of its
 * own. */
#ifndef ST_TEST_FUZZ_REPLAY_H
#define ST_TEST_FUZZ_REPLAY_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

#if defined(FUZZ_REPLAY) || defined(FUZZ_REPLAY_IN_TEST)
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

static int replayed;

static void replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct buf input = BUF_INIT;
    char piece[4096];
    size_t n;
    if (!file) {
        fprintf(stderr, "cannot open '%s'\n", path);
        exit(1);
    }
    while ((n = fread(piece, 1, sizeof piece, file)) > 0)
        buf_append(&input, piece, n);
    fclose(file);
    uint8_t *exact = xmalloc(input.len);
    if (input.len > 0)
        memcpy(exact, input.ptr, input.len);
    LLVMFuzzerTestOneInput(exact, input.len);
    free(exact);
    buf_release(&input);
    replayed++;
}

/* Ends the process when a file is not there or an input shows a fault; `replayed` counts. */
static void replay(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) {
        replay_file(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        char *inner = xasprintf("%s/%s", path, entry->d_name);
        replay_file(inner);
        free(inner);
    }
    closedir(folder);
}

#ifdef FUZZ_REPLAY
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%d inputs\n", replayed);
    return replayed == 0;
}
#endif
#endif

#endif
