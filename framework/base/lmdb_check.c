/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything is read with pread and bounds-checked. Usual depth: both meta pages, the tree of
 * databases, some of these whole, of the others the root page. Deep: every page that can be
 * reached, overflow pages and LMDB's own free list included.
 */
#include "base/lmdb_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE_HEADER = 16,
    NODE_HEADER = 8,
    PAGE_BRANCH = 0x01,
    PAGE_LEAF = 0x02,
    PAGE_OVERFLOW = 0x04,
    PAGE_META = 0x08,
    PAGE_KINDS = PAGE_BRANCH | PAGE_LEAF | PAGE_OVERFLOW | PAGE_META | 0x60,
    NODE_BIG = 0x01,
    NODE_DATABASE = 0x02,
    DEPTH_LIMIT = 32, /* LMDB's CURSOR_STACK */
    META_TRIES = 5,
    PAGE_SIZE_LEAST = 256,
    PAGE_SIZE_MOST = 65536
};

static const uint32_t meta_magic = 0xBEEFC0DE;
static const uint32_t meta_version = 1;
static const uint64_t no_page = UINT64_MAX;

/* As they lie in the file. */
struct disk_database {
    uint32_t pad; /* page size, in the first database of a meta page */
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};
struct disk_meta {
    uint32_t magic, version;
    uint64_t address, map_size;
    struct disk_database databases[2]; /* free list, main */
    uint64_t last_page, transaction;
};
struct disk_node {
    uint16_t low, high, flags, key_size;
};
_Static_assert(sizeof(struct disk_database) == 48, "LMDB's MDB_db");
_Static_assert(sizeof(struct disk_meta) == 136, "LMDB's MDB_meta");
_Static_assert(sizeof(size_t) == 8, "the file format of 64-bit machines");

struct check {
    const struct lmdb_file *file;
    struct error *error;
    uint32_t page_size;
    uint64_t last_page, file_size;
    uint64_t visited; /* pages; more than the file has is a cycle */
    bool (*whole)(struct bytes name);
    uint64_t stored_size;
};

/* Where in the file a walk is. */
enum level { LEVEL_MAIN, LEVEL_METADATA, LEVEL_TABLE, LEVEL_ROOT };

static enum status damaged(const struct check *check, const char *what, uint64_t page)
{
    ensure(check->file->path != NULL && what != NULL);
    return error_set(check->error, STATUS_FATAL, ERROR_CORRUPT,
                     "%s %s cannot be trusted: %s (page %llu of %llu)", check->file->kind,
                     check->file->path, what, (unsigned long long)page,
                     (unsigned long long)check->last_page + 1);
}

/* Reads exactly `size` bytes; false if the file ends before, or cannot be read. */
static bool read_exactly(int file, void *data, size_t size, uint64_t offset)
{
    ensure(file >= 0 && size > 0);
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(file, (uint8_t *)data + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

static uint16_t page_flags(const uint8_t *page)
{
    ensure(page != NULL);
    uint16_t flags;
    memcpy(&flags, page + 10, sizeof flags);
    return flags;
}

static bool page_size_sound(uint32_t size)
{
    return size >= PAGE_SIZE_LEAST && size <= PAGE_SIZE_MOST && (size & (size - 1)) == 0;
}

static bool database_sound(const struct disk_database *database, uint64_t last_page)
{
    ensure(last_page >= 1);
    return database->depth <= DEPTH_LIMIT &&
           (database->root == no_page
                ? database->entries == 0
                : database->root >= 2 && database->root <= last_page && database->depth > 0);
}

static bool meta_sound(const uint8_t *page, const struct disk_meta *meta)
{
    return (page_flags(page) & PAGE_META) != 0 && meta->magic == meta_magic &&
           meta->version == meta_version && page_size_sound(meta->databases[0].pad) &&
           meta->last_page >= 1 && meta->last_page < meta->map_size / meta->databases[0].pad &&
           meta->map_size <= (UINT64_MAX >> 2) &&
           database_sound(&meta->databases[0], meta->last_page) &&
           database_sound(&meta->databases[1], meta->last_page);
}

static bool read_meta(int file, uint64_t offset, struct disk_meta *meta)
{
    uint8_t page[PAGE_HEADER + sizeof *meta];
    if (!read_exactly(file, page, sizeof page, offset)) {
        return false;
    }
    memcpy(meta, page + PAGE_HEADER, sizeof *meta);
    return meta_sound(page, meta);
}

static bool read_newest(int file, struct disk_meta *meta)
{
    struct disk_meta second;
    if (!read_meta(file, 0, meta) || !read_meta(file, meta->databases[0].pad, &second) ||
        second.databases[0].pad != meta->databases[0].pad) {
        return false;
    }
    ensure(page_size_sound(meta->databases[0].pad));
    if (second.transaction > meta->transaction) {
        *meta = second;
    }
    return true;
}

/* The newer of the two; both must be sound, since LMDB refuses the file otherwise. Again when they
 * are not: a writer in another process may have been writing one. */
static bool newest_meta(int file, struct disk_meta *meta)
{
    for (int i = 0; i < META_TRIES; i++) {
        if (read_newest(file, meta)) {
            return true;
        }
    }
    return false;
}

enum status lmdb_check_meta(const struct lmdb_file *file, struct lmdb_facts *facts,
                            struct error *error)
{
    struct stat stat;
    struct disk_meta meta;
    ensure(file->file >= 0 && facts != NULL);
    if (fstat(file->file, &stat) == 0 && S_ISREG(stat.st_mode) && stat.st_size == 0) {
        return STATUS_NOT_FOUND;
    }
    if (!newest_meta(file->file, &meta)) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT,
                         "%s %s cannot be trusted: %s is no LMDB 0.9 file or is damaged at its "
                         "begin",
                         file->kind, file->path, LMDB_FILE);
    }
    facts->page_size = meta.databases[0].pad;
    facts->claimed_size = (meta.last_page + 1) * facts->page_size;
    facts->file_size = (uint64_t)stat.st_size;
    return STATUS_OK;
}

static enum status check_database(struct check *check, const struct disk_database *database,
                                  enum level level);

static uint64_t node_data_size(const struct disk_node *node)
{
    return (uint64_t)node->low | (uint64_t)node->high << 16;
}

/* A value that lies in overflow pages of its own. */
static enum status check_overflow(struct check *check, uint64_t number, uint64_t size)
{
    ensure(page_size_sound(check->page_size));
    uint8_t header[PAGE_HEADER];
    if (number < 2 || number > check->last_page ||
        !read_exactly(check->file->file, header, sizeof header, number * check->page_size)) {
        return damaged(check, "a large value lies beyond the end of the file", number);
    }
    uint64_t own;
    uint32_t pages;
    memcpy(&own, header, sizeof own);
    memcpy(&pages, header + 12, sizeof pages);
    uint64_t needed = (PAGE_HEADER + size + check->page_size - 1) / check->page_size;
    if (own != number || (page_flags(header) & PAGE_OVERFLOW) == 0 || pages < needed ||
        number + pages - 1 > check->last_page ||
        (number + pages) * check->page_size > check->file_size) {
        return damaged(check, "a large value is damaged", number);
    }
    check->visited += pages;
    return STATUS_OK;
}

/* Into a named database. Its value is not aligned. */
static enum status check_named(struct check *check, struct bytes key, const uint8_t *data,
                               uint64_t size, uint64_t page)
{
    ensure(key.size > 0 && data != NULL);
    struct disk_database database;
    if (size != sizeof database) {
        return damaged(check, "a table's entry is damaged", page);
    }
    memcpy(&database, data, sizeof database);
    if (!database_sound(&database, check->last_page)) {
        return damaged(check, "a table's entry is damaged", page);
    }
    bool whole = check->whole == NULL || check->whole(key);
    bool metadata = bytes_equal(key, bytes_of(LMDB_METADATA));
    return check_database(check, &database,
                          !whole     ? LEVEL_ROOT
                          : metadata ? LEVEL_METADATA
                                     : LEVEL_TABLE);
}

static enum status check_leaf_node(struct check *check, const uint8_t *page, size_t offset,
                                   enum level level, uint64_t number)
{
    ensure(offset + NODE_HEADER <= check->page_size);
    struct disk_node node;
    memcpy(&node, page + offset, sizeof node);
    uint64_t size = node_data_size(&node);
    bool big = (node.flags & NODE_BIG) != 0;
    size_t begin = offset + NODE_HEADER + node.key_size;
    if (begin + (big ? sizeof(uint64_t) : size) > check->page_size || node.key_size == 0 ||
        (node.flags & ~(NODE_BIG | NODE_DATABASE)) != 0 ||
        ((node.flags & NODE_DATABASE) != 0) != (level == LEVEL_MAIN)) {
        return damaged(check, "an entry is damaged", number);
    }
    struct bytes key = {page + offset + NODE_HEADER, node.key_size};
    if (big) {
        uint64_t first;
        memcpy(&first, page + begin, sizeof first);
        return check_overflow(check, first, size);
    }
    if (level == LEVEL_MAIN) {
        return check_named(check, key, page + begin, size, number);
    }
    if (level == LEVEL_METADATA && bytes_equal(key, bytes_of(LMDB_SIZE)) &&
        size == sizeof(uint64_t)) {
        check->stored_size = get_u64(page + begin);
    }
    return STATUS_OK;
}

static enum status check_page(struct check *check, uint64_t number, unsigned depth,
                              enum level level);

static enum status check_branch_node(struct check *check, const uint8_t *page, size_t offset,
                                     unsigned depth, enum level level, uint64_t number)
{
    ensure(depth > 1 && offset + NODE_HEADER <= check->page_size);
    struct disk_node node;
    memcpy(&node, page + offset, sizeof node);
    if (offset + NODE_HEADER + node.key_size > check->page_size) {
        return damaged(check, "a branch is damaged", number);
    }
    uint64_t child = node_data_size(&node) | (uint64_t)node.flags << 32;
    return check_page(check, child, depth - 1, level);
}

/* The header of a tree page: where it is, what it is, where its entries are. */
static bool page_sound(const struct check *check, const uint8_t *page, uint64_t number,
                       unsigned depth, size_t *count)
{
    ensure(depth >= 1);
    uint64_t own;
    uint16_t lower;
    uint16_t upper;
    memcpy(&own, page, sizeof own);
    memcpy(&lower, page + 12, sizeof lower);
    memcpy(&upper, page + 14, sizeof upper);
    unsigned kind = (unsigned)page_flags(page) & PAGE_KINDS;
    *count = (size_t)(lower - PAGE_HEADER) / sizeof(uint16_t);
    return own == number && kind == (unsigned)(depth > 1 ? PAGE_BRANCH : PAGE_LEAF) &&
           lower >= PAGE_HEADER && lower % 2 == 0 && lower <= upper && upper <= check->page_size &&
           *count >= (depth > 1 ? 2 : 1); /* LMDB reads the first without asking */
}

/* Page `number`, a leaf if depth is 1. */
static enum status check_page(struct check *check, uint64_t number, unsigned depth,
                              enum level level)
{
    ensure(depth >= 1 && depth <= DEPTH_LIMIT);
    if (number < 2 || number > check->last_page || ++check->visited > check->last_page + 1) {
        return damaged(check, "a page number is wrong", number);
    }
    uint8_t *page = memory_allocate(check->page_size);
    enum status status = STATUS_OK;
    size_t count = 0;
    if (!read_exactly(check->file->file, page, check->page_size, number * check->page_size)) {
        status = damaged(check, "a page lies beyond the end of the file", number);
    } else if (!page_sound(check, page, number, depth, &count)) {
        status = damaged(check, "a page is damaged", number);
    }
    for (size_t i = 0; i < count && status == STATUS_OK && level != LEVEL_ROOT; i++) {
        uint16_t offset;
        memcpy(&offset, page + PAGE_HEADER + i * sizeof offset, sizeof offset);
        if (offset < PAGE_HEADER || (uint32_t)offset + NODE_HEADER > check->page_size) {
            status = damaged(check, "an entry lies outside of its page", number);
        } else if (depth == 1) {
            status = check_leaf_node(check, page, offset, level, number);
        } else {
            status = check_branch_node(check, page, offset, depth, level, number);
        }
    }
    free(page);
    return status;
}

static enum status check_database(struct check *check, const struct disk_database *database,
                                  enum level level)
{
    ensure(database->depth <= DEPTH_LIMIT);
    if (database->root == no_page) {
        return STATUS_OK;
    }
    return check_page(check, database->root, database->depth, level);
}

enum status lmdb_check_tree(const struct lmdb_file *file, bool (*whole)(struct bytes name),
                            struct lmdb_facts *facts, struct error *error)
{
    ensure(file->file >= 0 && facts != NULL);
    struct disk_meta meta;
    struct stat stat;
    struct check check = {.file = file, .error = error, .whole = whole};
    if (!newest_meta(file->file, &meta) || fstat(file->file, &stat) != 0) {
        return damaged(&check, "the meta pages are damaged", 0);
    }
    check.page_size = meta.databases[0].pad;
    check.last_page = meta.last_page;
    check.file_size = (uint64_t)stat.st_size;
    enum status status = check_database(&check, &meta.databases[1], LEVEL_MAIN);
    if (status == STATUS_OK) {
        status =
            check_database(&check, &meta.databases[0], whole == NULL ? LEVEL_TABLE : LEVEL_ROOT);
    }
    if (status != STATUS_OK) {
        return status;
    }
    /* The size again, after the pages: a writer that lives makes the file longer, never shorter. */
    if (fstat(file->file, &stat) != 0) {
        return damaged(&check, "its size cannot be read", 0);
    }
    facts->file_size = (uint64_t)stat.st_size;
    facts->claimed_size = (meta.last_page + 1) * check.page_size;
    facts->stored_size = check.stored_size;
    return STATUS_OK;
}
