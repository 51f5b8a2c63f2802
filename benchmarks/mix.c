/* mix OUT TASK KIND SALT PARAM IN...: the body of every task of the reference DAG, for tools whose tasks are commands.

   Writes "TASK KIND SALT PARAM", a line "crc32 IN" per input (its lines that start with '#' left out), and "END".
   MIX_LOG=FILE appends "B TASK" and "E TASK"; MIX_SLOW_MS=N writes one half, waits, writes the other;
   MIX_KEEP=1 leaves an output alone that would not change. The same as mix.py, without its start of Python. */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint32_t table[256];

static char *content(const char *path, long *size) {
    struct stat found;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &found)) return NULL;
    char *bytes = malloc(found.st_size + 1);
    long have = 0, got;
    while (have < found.st_size && (got = read(file, bytes + have, found.st_size - have)) > 0) have += got;
    close(file);
    *size = have;
    return bytes;
}

static uint32_t checksum(const char *bytes, long size) {
    uint32_t crc = ~0u;
    for (long start = 0, end; start < size; start = end) {
        const char *line_end = memchr(bytes + start, '\n', size - start);
        end = line_end ? line_end - bytes + 1 : size;
        if (bytes[start] == '#') continue;
        for (long i = start; i < end; i++) crc = table[(crc ^ (unsigned char)bytes[i]) & 255] ^ (crc >> 8);
    }
    return ~crc;
}

static void put(int file, const char *bytes, long size) {
    if (write(file, bytes, size) != size) {
        perror("mix");
        exit(1);
    }
}

static void note(char event, const char *task) {
    char line[128];
    const char *path = getenv("MIX_LOG");
    if (!path) return;
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
    put(file, line, snprintf(line, sizeof line, "%c %s\n", event, task));
    close(file);
}

static int is_equal(const char *path, const char *text, long size) {
    long had;
    char *old = content(path, &had);
    return old && had == size && !memcmp(old, text, size);
}

static void write_halves(const char *path, const char *text, long size) {
    const char *slow_ms = getenv("MIX_SLOW_MS");
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file < 0) {
        perror(path);
        exit(1);
    }
    put(file, text, size / 2);
    if (slow_ms) usleep(1000 * atoi(slow_ms));
    put(file, text + size / 2, size - size / 2);
    close(file);
}

int main(int count, char **word) {
    if (count < 6) return 2;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++) table[i] = table[i] & 1 ? 0xEDB88320u ^ (table[i] >> 1) : table[i] >> 1;
    }
    note('B', word[2]);
    char *text = malloc(512 + 300L * count);
    long size = sprintf(text, "%s %s %s %s\n", word[2], word[3], word[4], word[5]);
    for (int i = 6; i < count; i++) {
        long have;
        char *bytes = content(word[i], &have);
        if (!bytes) {
            perror(word[i]);
            return 1;
        }
        size += sprintf(text + size, "%08x %s\n", checksum(bytes, have), word[i]);
        free(bytes);
    }
    size += sprintf(text + size, "END\n");
    if (!getenv("MIX_KEEP") || !is_equal(word[1], text, size)) write_halves(word[1], text, size);
    note('E', word[2]);
    return 0;
}
