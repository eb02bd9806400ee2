/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening an environment, for the one writer and for readers beside it.
 *
 * Invariants
 *  - Nothing is mapped before the file has passed base/lmdb_check.h, so damage ends in
 * ERROR_CORRUPT and not in a signal; a reader checks under a snapshot, which keeps the writer from
 * reusing the pages it reads.
 *  - All databases of the file are open before the first transaction: one opened in a transaction
 * that aborts would be lost with it.
 *  - A reader makes no file: it would belong to the reader's user and keep the writer out.
 */
#include "state/store_lmdb.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

#define MAP_USUAL ((size_t)16 << 30)
#define MAP_SMALL ((size_t)1 << 30) /* where address space is scarce: TSan, Valgrind */
#define MAP_LEAST ((size_t)64 << 20)

enum { READER_TRIES = 3 };

int lmdb_renew(struct lmdb_store *store)
{
    ensure(store->write == NULL && store->reader != NULL);
    if (store->reading) {
        mdb_txn_reset(store->reader);
        store->reading = false;
    }
    int code = mdb_txn_renew(store->reader);
    if (code == MDB_MAP_RESIZED) {
        code = mdb_env_set_mapsize(store->env, 0);
        code = code != 0 ? code : mdb_txn_renew(store->reader);
    }
    store->version++;
    store->reading = code == 0;
    return code;
}

/* ---- tables ---- */

struct lmdb_table *lmdb_table_add(struct lmdb_store *store, const char *name, MDB_dbi dbi)
{
    ensure(name[0] != '\0' && name[0] != '=');
    struct lmdb_table *table = memory_allocate(sizeof *table);
    table->base.store = &store->base;
    table->name = memory_text(name);
    table->dbi = dbi;
    store->tables = memory_resize(store->tables, (store->table_count + 1) * sizeof *store->tables);
    store->tables[store->table_count++] = table;
    return table;
}

static bool table_known(const struct lmdb_store *store, MDB_val name)
{
    ensure(store->table_count == 0 || store->tables != NULL);
    for (size_t i = 0; i < store->table_count; i++) {
        const char *known = store->tables[i]->name;
        if (strlen(known) == name.mv_size && memcmp(known, name.mv_data, name.mv_size) == 0) {
            return true;
        }
    }
    return false;
}

/* Gives each database of the file that has none yet a struct lmdb_table. */
static int find_tables(struct lmdb_store *store, MDB_txn *txn)
{
    MDB_dbi root;
    MDB_cursor *cursor;
    int code = mdb_dbi_open(txn, NULL, 0, &root);
    code = code != 0 ? code : mdb_cursor_open(txn, root, &cursor);
    if (code != 0) {
        return code;
    }
    MDB_val name;
    MDB_val value;
    while ((code = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) == 0) {
        if (name.mv_size == 0 || *(char *)name.mv_data == '=' || table_known(store, name)) {
            continue;
        }
        char *text = strndup(name.mv_data, name.mv_size);
        ensure(text != NULL);
        MDB_dbi dbi;
        code = mdb_dbi_open(txn, text, 0, &dbi);
        if (code == 0) {
            (void)lmdb_table_add(store, text, dbi);
        }
        free(text);
        if (code != 0) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

/* Opens all databases in a transaction of their own; a writer makes the two reserved ones.
 * MDB_NOTFOUND: a reader found an environment whose writer had not come that far. */
static int open_tables(struct lmdb_store *store)
{
    ensure(store->write == NULL && store->env != NULL);
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, store->read_only ? MDB_RDONLY : 0, &txn);
    if (code == MDB_MAP_RESIZED) {
        code = mdb_env_set_mapsize(store->env, 0);
        code = code != 0 ? code : mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    }
    if (code != 0) {
        return code;
    }
    unsigned create = store->read_only ? 0 : MDB_CREATE;
    code = mdb_dbi_open(txn, LMDB_METADATA, create, &store->metadata);
    code = code != 0 ? code : mdb_dbi_open(txn, LMDB_LONG, create, &store->deep);
    code = code != 0 ? code : find_tables(store, txn);
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

/* ---- is a writer there ---- */

/* Asks the lock of directory.h, held by every writer for life, without keeping it. */
static bool writer_lives(const char *path)
{
    ensure(path != NULL);
    char *name = memory_format("%s/lock", path);
    int lock = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    free(name);
    if (lock < 0) {
        return errno != ENOENT;
    }
    bool lives = flock(lock, LOCK_SH | LOCK_NB) != 0;
    (void)close(lock);
    return lives;
}

static enum status no_lock_refused(const char *path, struct error *error)
{
    return error_set(error, STATUS_FATAL, ERROR_DENIED,
                     "store %s is in use and its %s cannot be written by this user; read it as the "
                     "user who runs it",
                     path, LMDB_LOCK_FILE);
}

enum status lmdb_release_snapshot(struct lmdb_store *store, struct error *error)
{
    ensure(store->read_only);
    if (store->reading) {
        mdb_txn_reset(store->reader);
        store->reading = false;
        store->version++;
    }
    return store->no_lock && writer_lives(store->path) ? no_lock_refused(store->path, error)
                                                       : STATUS_OK;
}

int lmdb_find_new_tables(struct lmdb_store *store)
{
    ensure(store->read_only);
    MDB_txn *txn;
    MDB_dbi root;
    MDB_stat stat;
    int code = lmdb_read_begin(store, &txn);
    code = code != 0 ? code : mdb_dbi_open(txn, NULL, 0, &root);
    code = code != 0 ? code : mdb_stat(txn, root, &stat);
    if (code == 0 && stat.ms_entries != store->table_count + LMDB_RESERVED) {
        mdb_txn_reset(store->reader);
        store->reading = false;
        code = open_tables(store);
        code =
            code != 0 ? code : lmdb_renew(store); /* a transaction knows the tables of its begin */
    }
    return code;
}

/* ---- opening ---- */

static size_t map_size(uint64_t used)
{
    size_t size = RUNNING_ON_VALGRIND != 0 || UNDER_TSAN ? MAP_SMALL : MAP_USUAL;
    while (used > size / 4 * 3) {
        ensure(size <= SIZE_MAX / 2);
        size *= 2;
    }
    return size;
}

/* mdb_env_open with the largest of the usual sizes that the address space has room for. */
static int open_env(struct lmdb_store *store, uint64_t used, unsigned flags)
{
    size_t size = map_size(used);
    for (;;) {
        int code = mdb_env_create(&store->env);
        if (code != 0) {
            store->env = NULL;
            return code;
        }
        code = mdb_env_set_maxdbs(store->env, LMDB_TABLES);
        code = code != 0 ? code : mdb_env_set_mapsize(store->env, size);
        code = code != 0 ? code : mdb_env_open(store->env, store->path, flags, 0600);
        if (code == 0) {
            ensure(mdb_env_get_fd(store->env, &store->file) == 0);
            return 0;
        }
        mdb_env_close(store->env);
        store->env = NULL;
        size /= 2;
        if (code != ENOMEM || size < MAP_LEAST || used > size) {
            return code;
        }
    }
}

static int open_reader(struct lmdb_store *store)
{
    ensure(store->env != NULL && store->reader == NULL);
    int code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->reader);
    if (code == MDB_MAP_RESIZED) {
        code = mdb_env_set_mapsize(store->env, 0);
        code = code != 0 ? code : mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->reader);
    }
    if (code != 0) {
        store->reader = NULL;
        return code;
    }
    store->reading = true;
    store->version++;
    lmdb_read_end(store);
    return 0;
}

static enum status system_failed(const struct lmdb_store *store, int code, const char *what,
                                 struct error *error)
{
    ensure(code != 0);
    if (code == ELOOP) {
        return error_set(error, STATUS_FATAL, ERROR_DENIED,
                         "%s: store %s: a symbolic link is in the place of a file", what,
                         store->path);
    }
    if (code == ENOENT || code == ENOTDIR || code == EISDIR) {
        return error_set(error, STATUS_FATAL, ERROR_IO, "%s: store %s: %s", what, store->path,
                         strerror(code));
    }
    return lmdb_failed(store, code, what, error);
}

/* Opens a file of the store for its writer, made with mode 0600 whatever the umask: LMDB itself,
 * which opens it more than once, obeys the umask. */
static int open_private(const char *path, const char *name, int *file)
{
    ensure(strchr(name, '/') == NULL);
    char *full = memory_format("%s/%s", path, name);
    *file = open(full, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int code = 0;
    if (*file >= 0) {
        code = fchmod(*file, 0600) == 0 ? 0 : errno;
    } else if (errno == EEXIST) {
        *file = open(full, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        code = *file >= 0 ? 0 : errno;
    } else {
        code = errno;
    }
    free(full);
    return code;
}

static enum status truncated(const char *path, const struct lmdb_facts *facts, struct error *error)
{
    ensure(facts->file_size < facts->stored_size);
    return error_set(error, STATUS_FATAL, ERROR_CORRUPT,
                     "store %s is truncated: %llu bytes, %llu at its last commit", path,
                     (unsigned long long)facts->file_size, (unsigned long long)facts->stored_size);
}

/* What an open looks at whole: of the other tables the root page. */
static bool is_metadata(struct bytes name)
{
    return bytes_equal(name, bytes_of(LMDB_METADATA));
}

/* R2: judges the file, and makes a legally short one as long as its meta page says. */
static enum status admit(struct lmdb_store *store, int file, struct lmdb_facts *facts,
                         struct error *error)
{
    ensure(!store->read_only && file >= 0);
    const struct lmdb_file judged = {file, "store", store->path};
    enum status status = lmdb_check_meta(&judged, facts, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = lmdb_check_tree(&judged, is_metadata, facts, error);
    if (status == STATUS_OK && facts->file_size < facts->stored_size) {
        status = truncated(store->path, facts, error);
    }
    if (status != STATUS_OK || facts->file_size >= facts->claimed_size) {
        return status;
    }
    status = lmdb_check_tree(&judged, NULL, facts, error);
    if (status == STATUS_OK && ftruncate(file, (off_t)facts->claimed_size) != 0) {
        /* A size that no file can have was never that of this store. */
        status = system_failed(store, errno == EFBIG ? MDB_CORRUPTED : errno, "extending", error);
    }
    return status;
}

/* A new file's name is on disk only when its folder is. */
static int sync_folder(const char *path)
{
    ensure(path != NULL);
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        return errno;
    }
    int code = fsync(folder) == 0 ? 0 : errno;
    (void)close(folder);
    return code;
}

static enum status open_writing(struct lmdb_store *store, struct error *error)
{
    ensure(!store->read_only && store->env == NULL);
    int file = -1;
    int lock = -1;
    struct lmdb_facts facts = {0};
    int code = open_private(store->path, LMDB_FILE, &file);
    code = code != 0 ? code : open_private(store->path, LMDB_LOCK_FILE, &lock);
    enum status status = code == 0 ? STATUS_OK : system_failed(store, code, "opening", error);
    if (status == STATUS_OK) {
        status = admit(store, file, &facts, error);
    }
    bool fresh = status == STATUS_NOT_FOUND;
    if (file >= 0) {
        (void)close(file);
    }
    if (lock >= 0) {
        (void)close(lock); /* before LMDB locks it: a close drops the process's record locks */
    }
    if (status != STATUS_OK && !fresh) {
        return status;
    }
    unsigned flags =
        MDB_NOTLS | MDB_NORDAHEAD | (unsigned)(store->durable ? MDB_NOMETASYNC : MDB_NOSYNC);
    code = open_env(store, facts.claimed_size, flags);
    int dead = 0;
    code = code != 0 ? code : mdb_reader_check(store->env, &dead);
    code = code != 0 ? code : open_tables(store);
    code = code != 0 ? code : open_reader(store);
    if (code == 0 && fresh) {
        code = sync_folder(store->path);
    }
    if (code != 0) {
        /* The reserved databases are made when missing, so "not found" is damage here. */
        return lmdb_failed(store, code == MDB_NOTFOUND ? MDB_CORRUPTED : code, "opening", error);
    }
    store->size_stored = facts.stored_size;
    store->readers_checked_us = clock_monotonic_us(clock_system());
    return STATUS_OK;
}

/* The checks under a snapshot that a reader holds. */
static enum status admit_reader(struct lmdb_store *store, int file, struct lmdb_facts *facts,
                                struct error *error)
{
    ensure(store->read_only && store->reading);
    const struct lmdb_file judged = {file, "store", store->path};
    enum status status = lmdb_check_tree(&judged, is_metadata, facts, error);
    if (status == STATUS_OK && facts->file_size < facts->stored_size) {
        status = truncated(store->path, facts, error);
    }
    /* A living writer has judged the file when it opened it. */
    if (status == STATUS_OK && facts->file_size < facts->claimed_size &&
        !writer_lives(store->path)) {
        status = lmdb_check_tree(&judged, NULL, facts, error);
    }
    return status;
}

static enum status open_snapshot(struct lmdb_store *store, int file, struct error *error)
{
    ensure(store->read_only && store->env == NULL);
    struct lmdb_facts facts = {0};
    enum status status =
        lmdb_check_meta(&(struct lmdb_file){file, "store", store->path}, &facts, error);
    if (status != STATUS_OK) {
        return status;
    }
    char *lock = memory_format("%s/%s", store->path, LMDB_LOCK_FILE);
    store->no_lock = access(lock, R_OK | W_OK) != 0;
    free(lock);
    if (store->no_lock && writer_lives(store->path)) {
        return no_lock_refused(store->path, error);
    }
    unsigned flags =
        MDB_RDONLY | MDB_NOTLS | MDB_NORDAHEAD | (unsigned)(store->no_lock ? MDB_NOLOCK : 0);
    int code = open_env(store, facts.claimed_size, flags);
    code = code != 0 ? code : open_reader(store);
    if (code != 0) {
        return lmdb_failed(store, code, "opening", error);
    }
    int tries = 0;
    do { /* again: a meta page may have been read while it was written */
        status = admit_reader(store, file, &facts, error);
    } while (status != STATUS_OK && ++tries < READER_TRIES);
    if (status != STATUS_OK) {
        return status;
    }
    code = open_tables(store);
    code = code != 0 ? code : lmdb_renew(store);
    if (code == MDB_NOTFOUND) {
        return STATUS_NOT_FOUND;
    }
    return code == 0 ? STATUS_OK : lmdb_failed(store, code, "opening", error);
}

static enum status open_reading(struct lmdb_store *store, struct error *error)
{
    ensure(store->read_only);
    char *name = memory_format("%s/%s", store->path, LMDB_FILE);
    int file = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int code = errno;
    free(name);
    if (file < 0) {
        return code == ENOENT || code == ENOTDIR ? STATUS_NOT_FOUND
                                                 : system_failed(store, code, "opening", error);
    }
    enum status status = open_snapshot(store, file, error);
    (void)close(file);
    return status;
}

enum status store_lmdb_open(const char *directory, const struct store_options *options,
                            struct store **out, struct error *error)
{
    ensure(directory != NULL && options != NULL && out != NULL);
    struct lmdb_store *store = memory_allocate(sizeof *store);
    store->base.ops = &lmdb_store_ops;
    store->path = memory_text(directory);
    store->read_only = options->read_only;
    store->durable = options->durable;
    enum status status =
        options->read_only ? open_reading(store, error) : open_writing(store, error);
    if (status != STATUS_OK) {
        lmdb_finish(store);
        return status;
    }
    *out = &store->base;
    return STATUS_OK;
}

void lmdb_finish(struct lmdb_store *store)
{
    ensure(store->write == NULL);
    if (store->reader != NULL) {
        mdb_txn_abort(store->reader);
    }
    if (store->env != NULL) {
        mdb_env_close(store->env);
    }
    for (size_t i = 0; i < store->table_count; i++) {
        free(store->tables[i]->name);
        free(store->tables[i]);
    }
    free(store->tables);
    free(store->path);
    free(store);
}
