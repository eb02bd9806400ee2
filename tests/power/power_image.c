/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images: from the log to a tree as a power loss may leave it. First which changes of names reached
 * the disk, then for each file that still has a name, which versions of its pages and of its size.
 *
 * Invariants
 *  - Of two changes of names that touch the same file, folder or name, the later is never kept
 *    without the earlier; so a kept change always finds what it needs.
 *  - A unit (page or sector) of a file holds one of the versions it had between the last barrier
 *    and the cut; never an older one, never a mixture.
 */
#include "base/bytes.h"
#include "base/status.h"
#include "power_entries.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, SECTOR = 512, LIES = 2 };

struct image {
    const struct power_entry *entries;
    size_t count, base;
    struct random *random;
    enum power_subset how;
    uint64_t unit;
    uint64_t likely; /* of 16: that a unit is written in its newest version, or not at all */
    bool *kept;      /* by entry: names */
};

struct place {
    size_t parent, object;
    const char *name;
};

static bool chance(const struct image *image, uint64_t of_16)
{
    return random_below(image->random, 16) < of_16;
}

/* ---- names ---- */

static bool is_naming(const struct power_entry *entry)
{
    return entry->kind == POWER_LINK || entry->kind == POWER_UNLINK || entry->kind == POWER_RENAME;
}

static bool touches_name(const struct power_entry *entry, size_t parent, const char *name)
{
    return (entry->parent == parent && strcmp(entry->name, name) == 0) ||
           (entry->kind == POWER_RENAME && entry->new_parent == parent &&
            strcmp(entry->new_name, name) == 0);
}

/* Whether `later` cannot be on the disk without `earlier`. */
static bool depends(const struct power_entry *later, const struct power_entry *earlier)
{
    return later->object == earlier->object || later->parent == earlier->object ||
           (later->kind == POWER_RENAME && later->new_parent == earlier->object) ||
           touches_name(earlier, later->parent, later->name) ||
           (later->kind == POWER_RENAME &&
            touches_name(earlier, later->new_parent, later->new_name));
}

/* Whether this barrier makes this change of a name durable: of the folder, or of the thing named.
 */
static bool secures(const struct power_entry *barrier, const struct power_entry *change)
{
    return barrier->object == change->object || barrier->object == change->parent ||
           (change->kind == POWER_RENAME && barrier->object == change->new_parent);
}

static bool is_secured(const struct image *image, size_t index)
{
    for (size_t i = index + 1; i < image->count; i++) {
        const struct power_entry *entry = &image->entries[i];
        if (entry->kind == POWER_SYNC && secures(entry, &image->entries[index])) {
            return true;
        }
        if (is_naming(entry) && image->kept[i] && depends(entry, &image->entries[index])) {
            return true;
        }
    }
    return false;
}

/* Marks in `kept` what must be on the disk. From the end: what needs a thing that must be there,
 * must be there. */
static void keep_durable(struct image *image)
{
    for (size_t i = image->count; i > 0; i--) {
        if (is_naming(&image->entries[i - 1])) {
            image->kept[i - 1] = i <= image->base || is_secured(image, i - 1);
        }
    }
}

static bool is_lost(const struct image *image, size_t index)
{
    for (size_t i = image->base; i < index; i++) {
        if (is_naming(&image->entries[i]) && !image->kept[i] &&
            depends(&image->entries[index], &image->entries[i])) {
            return true;
        }
    }
    return false;
}

/* The rest by chance: half of the images as a journal would, a beginning of them, the others each
 * for itself. */
static void keep_some(struct image *image)
{
    bool journal = chance(image, 8);
    size_t end = image->base + random_below(image->random, image->count - image->base + 1);
    for (size_t i = image->base; i < image->count; i++) {
        if (!is_naming(&image->entries[i]) || image->kept[i]) {
            continue;
        }
        bool wanted = image->how == POWER_ALL ||
                      (image->how != POWER_NONE && (journal ? i < end : chance(image, 8)));
        image->kept[i] = wanted && !is_lost(image, i);
    }
}

static size_t find_place(const struct place *places, size_t count, size_t parent, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (places[i].parent == parent && strcmp(places[i].name, name) == 0) {
            return i;
        }
    }
    return POWER_NOTHING;
}

static void place_put(struct place *places, size_t *count, size_t parent, const char *name,
                      size_t object)
{
    size_t at = find_place(places, *count, parent, name);
    if (at == POWER_NOTHING) {
        at = (*count)++;
    }
    places[at] = (struct place){parent, object, name};
}

static void place_remove(struct place *places, size_t *count, size_t parent, const char *name)
{
    size_t at = find_place(places, *count, parent, name);
    ensure(at != POWER_NOTHING);
    places[at] = places[--*count];
}

/* The names that the kept changes lead to. */
static struct place *name_all(const struct image *image, size_t *count)
{
    struct place *places = memory_allocate((image->count + 1) * sizeof *places);
    *count = 0;
    for (size_t i = 0; i < image->count; i++) {
        const struct power_entry *entry = &image->entries[i];
        if (!is_naming(entry) || !image->kept[i]) {
            continue;
        }
        if (entry->kind != POWER_LINK) {
            place_remove(places, count, entry->parent, entry->name);
        }
        if (entry->kind == POWER_LINK) {
            place_put(places, count, entry->parent, entry->name, entry->object);
        } else if (entry->kind == POWER_RENAME) {
            place_put(places, count, entry->new_parent, entry->new_name, entry->object);
        }
    }
    return places;
}

/* ---- content ---- */

/* One file's way from its last barrier to the cut. */
struct remains {
    const struct image *image;
    size_t object, barrier; /* the entry after the last full barrier */
    uint64_t limit;         /* the file was never longer */
    uint64_t units;
    uint32_t *versions; /* by unit: how many it had since; then how many of them are applied */
    uint32_t *least;    /* by unit: how many of them are durable */
    uint32_t *seen;
    uint8_t *bytes;
    uint64_t size;   /* now, as the changes are walked through */
    uint64_t *sizes; /* since the barrier */
    size_t size_count, size_least;
};

static bool concerns(const struct remains *remains, size_t index)
{
    const struct power_entry *entry = &remains->image->entries[index];
    return entry->object == remains->object && !is_naming(entry);
}

/* The first entry after the last barrier that counts, and the longest that the file ever was. */
static void survey(struct remains *remains)
{
    size_t recent[LIES + 1] = {0}; /* barriers, the newest first */
    for (size_t i = 0; i < remains->image->count; i++) {
        const struct power_entry *entry = &remains->image->entries[i];
        if (!concerns(remains, i)) {
            continue;
        }
        uint64_t end = entry->kind == POWER_WRITE  ? entry->offset + entry->size
                       : entry->kind == POWER_SIZE ? entry->size
                                                   : 0;
        remains->limit = end > remains->limit ? end : remains->limit;
        if (i < remains->image->base) {
            for (size_t k = 0; k <= LIES; k++) {
                recent[k] = i + 1;
            }
        } else if (entry->kind == POWER_SYNC || entry->kind == POWER_SYNC_DATA) {
            memmove(recent + 1, recent, LIES * sizeof *recent);
            recent[0] = i + 1;
        }
    }
    remains->barrier = recent[remains->image->how == POWER_LYING ? LIES : 0];
}

/* The bytes that an entry changes: what it writes, or what a shorter size cuts off. */
static void extent(const struct remains *remains, const struct power_entry *entry, uint64_t *from,
                   uint64_t *to)
{
    bool cuts = entry->kind == POWER_SIZE && entry->size < remains->size;
    *from = entry->kind == POWER_SIZE ? entry->size : entry->offset;
    *to = entry->kind == POWER_SIZE ? (cuts ? remains->limit : entry->size)
                                    : entry->offset + entry->size;
}

/* Puts bytes [from, to) in the version that the entry makes. */
static void apply(struct remains *remains, const struct power_entry *entry, uint64_t from,
                  uint64_t to)
{
    ensure(from <= to && to <= remains->limit);
    if (entry->kind == POWER_SIZE) {
        memset(remains->bytes + from, 0, to - from);
    } else {
        memcpy(remains->bytes + from, entry->data + (from - entry->offset), to - from);
    }
}

static void resize(struct remains *remains, const struct power_entry *entry)
{
    if (entry->kind == POWER_SIZE) {
        remains->size = entry->size;
    } else if (entry->kind == POWER_WRITE && entry->offset + entry->size > remains->size) {
        remains->size = entry->offset + entry->size;
    }
}

/* Everything before the barrier is there. */
static void settle(struct remains *remains)
{
    for (size_t i = 0; i < remains->barrier; i++) {
        const struct power_entry *entry = &remains->image->entries[i];
        if (concerns(remains, i) && (entry->kind == POWER_WRITE || entry->kind == POWER_SIZE)) {
            uint64_t from;
            uint64_t to;
            extent(remains, entry, &from, &to);
            apply(remains, entry, from, to);
            resize(remains, entry);
        }
    }
}

static void count_versions(struct remains *remains)
{
    uint64_t unit = remains->image->unit;
    uint64_t size = remains->size;
    remains->sizes[remains->size_count++] = remains->size;
    for (size_t i = remains->barrier; i < remains->image->count; i++) {
        const struct power_entry *entry = &remains->image->entries[i];
        if (!concerns(remains, i) || entry->kind == POWER_SYNC || entry->kind == POWER_SYNC_DATA) {
            continue;
        }
        uint64_t from;
        uint64_t to;
        extent(remains, entry, &from, &to);
        for (uint64_t u = from / unit; from < to && u <= (to - 1) / unit; u++) {
            if (entry->kind != POWER_SYNC_PART) {
                remains->versions[u]++;
            } else {
                remains->least[u] = remains->versions[u];
            }
        }
        resize(remains, entry);
        remains->sizes[remains->size_count++] = remains->size;
        if (entry->kind == POWER_SYNC_PART) {
            remains->size_least = remains->size_count - 1;
        }
    }
    remains->size = size;
}

static uint32_t choose_version(const struct remains *remains, uint64_t unit, bool chosen)
{
    uint32_t least = remains->least[unit];
    uint32_t all = remains->versions[unit];
    const struct image *image = remains->image;
    switch (image->how) {
    case POWER_ALL:
        return all;
    case POWER_NONE:
        return least;
    case POWER_ONE:
        return chosen ? all : least;
    case POWER_ALL_BUT_ONE:
        return chosen ? least : all;
    default:
        if (chance(image, 4)) {
            return least + (uint32_t)random_below(image->random, all - least + 1);
        }
        return chance(image, image->likely) ? all : least;
    }
}

/* From here on `versions` says how many changes of a unit are applied. */
static void choose(struct remains *remains)
{
    uint64_t open = 0;
    for (uint64_t u = 0; u < remains->units; u++) {
        open += remains->versions[u] > remains->least[u];
    }
    uint64_t one = open == 0 ? 0 : random_below(remains->image->random, open);
    for (uint64_t u = 0; u < remains->units; u++) {
        bool is_open = remains->versions[u] > remains->least[u];
        remains->versions[u] = choose_version(remains, u, is_open && one == 0);
        one -= is_open; /* wraps after the one: no other is 0 again */
    }
}

static void apply_chosen(struct remains *remains)
{
    uint64_t unit = remains->image->unit;
    for (size_t i = remains->barrier; i < remains->image->count; i++) {
        const struct power_entry *entry = &remains->image->entries[i];
        if (!concerns(remains, i) || (entry->kind != POWER_WRITE && entry->kind != POWER_SIZE)) {
            continue;
        }
        uint64_t from;
        uint64_t to;
        extent(remains, entry, &from, &to);
        for (uint64_t u = from / unit; from < to && u <= (to - 1) / unit; u++) {
            if (remains->seen[u]++ < remains->versions[u]) {
                uint64_t begin = from > u * unit ? from : u * unit;
                uint64_t end = to < (u + 1) * unit ? to : (u + 1) * unit;
                apply(remains, entry, begin, end);
            }
        }
        resize(remains, entry);
    }
}

static uint64_t choose_size(const struct remains *remains)
{
    size_t last = remains->size_count - 1;
    switch (remains->image->how) {
    case POWER_NONE:
        return remains->sizes[remains->size_least];
    case POWER_RANDOM:
    case POWER_LYING:
        if (chance(remains->image, 8)) {
            return remains
                ->sizes[remains->size_least +
                        random_below(remains->image->random, last - remains->size_least + 1)];
        }
        return remains->sizes[last];
    default:
        return remains->sizes[last];
    }
}

static void write_file(const char *path, const struct remains *remains, uint64_t size)
{
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, (off_t)size) != 0) {
        power_fail("making", path);
    }
    for (uint64_t done = 0; done < size;) {
        ssize_t written = pwrite(file, remains->bytes + done, size - done, (off_t)done);
        if (written <= 0) {
            power_fail("writing", path);
        }
        done += (uint64_t)written;
    }
    (void)close(file);
}

static void make_file(const struct image *image, size_t object, const char *path)
{
    struct remains remains = {.image = image, .object = object};
    survey(&remains);
    remains.units = remains.limit / image->unit + 1;
    remains.bytes = memory_allocate(remains.limit + 1);
    remains.versions = memory_allocate(remains.units * sizeof *remains.versions);
    remains.least = memory_allocate(remains.units * sizeof *remains.least);
    remains.seen = memory_allocate(remains.units * sizeof *remains.seen);
    remains.sizes = memory_allocate((image->count - remains.barrier + 1) * sizeof *remains.sizes);
    settle(&remains);
    count_versions(&remains);
    choose(&remains);
    apply_chosen(&remains);
    write_file(path, &remains, choose_size(&remains));
    free(remains.bytes);
    free(remains.versions);
    free(remains.least);
    free(remains.seen);
    free(remains.sizes);
}

/* ---- the tree ---- */

static void make_folder(const struct image *image, const struct place *places, size_t count,
                        size_t object, const char *path)
{
    if (mkdir(path, 0700) != 0) {
        power_fail("making", path);
    }
    for (size_t i = 0; i < count; i++) {
        if (places[i].parent != object) {
            continue;
        }
        char *inner = memory_format("%s/%s", path, places[i].name);
        if (power_log_current()->objects[places[i].object].folder) {
            make_folder(image, places, count, places[i].object, inner);
        } else {
            make_file(image, places[i].object, inner);
        }
        free(inner);
    }
}

void power_log_image(const char *target, size_t cut, struct random *random, enum power_subset how)
{
    power_lock();
    const struct power_log *log = power_log_current();
    char *name = NULL;
    ensure(log->base + cut <= log->count);
    ensure(power_parent_of(AT_FDCWD, target, &name) == POWER_NOTHING);
    free(name);
    struct image image = {.entries = log->entries,
                          .count = log->base + cut,
                          .base = log->base,
                          .random = random,
                          .how = how,
                          .unit = PAGE};
    bool chosen = how == POWER_RANDOM || how == POWER_LYING;
    image.unit = chosen && chance(&image, 8) ? SECTOR : PAGE;
    image.likely = 1 + random_below(random, 15);
    image.kept = memory_allocate((image.count + 1) * sizeof *image.kept);
    keep_durable(&image);
    keep_some(&image);
    size_t count = 0;
    struct place *places = name_all(&image, &count);
    make_folder(&image, places, count, 0, target);
    free(places);
    free(image.kept);
    power_unlock();
}
