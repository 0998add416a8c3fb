/* redis_error.h: what Redis' error answers mean for a client: the only list of them. */
#ifndef BLOTTER_PRODUCER_REDIS_ERROR_H
#define BLOTTER_PRODUCER_REDIS_ERROR_H

enum redis_error_action {
    REDIS_ERROR_OTHER,   /* not in the table: the command itself is refused */
    REDIS_ERROR_RESET,   /* the wrong server: connect again, to find the right one */
    REDIS_ERROR_REROUTE, /* the key belongs to another node of a cluster */
    REDIS_ERROR_SPLIT,   /* keys of several cluster slots: ask for each on its own */
    REDIS_ERROR_WAIT,    /* passes by itself */
    REDIS_ERROR_FULL,    /* no writes until there is room or a disk again */
    REDIS_ERROR_RIGHTS,  /* the user may not: a person has to change the ACL */
    REDIS_ERROR_LOGIN,   /* user or password is refused */
    REDIS_ERROR_CLIENTS, /* the server has no free connection */
    REDIS_ERROR_GROUP,   /* there is no such consumer group, or no stream */
    REDIS_ERROR_SETTING, /* what the URL asks for cannot be: only another URL mends it */
};

/* X(how the error begins, what to do, what it means) */
/* clang-format off */
#define REDIS_ERRORS(X) \
    X("READONLY", RESET, "the server is a replica: reconnecting to find the master") \
    X("MASTERDOWN", WAIT, "the server is a replica without its master") \
    X("LOADING", WAIT, "the server is loading its data") \
    X("BUSY", WAIT, "a script or module keeps the server busy") \
    X("NOREPLICAS", WAIT, "fewer replicas are in step than min-replicas-to-write asks for") \
    X("ERR max number of clients", CLIENTS, "the server has as many clients as maxclients allows") \
    X("MOVED", REROUTE, "the stream belongs to another node of a Redis Cluster") \
    X("ASK", REROUTE, "the stream is being moved to another node of a Redis Cluster") \
    X("CROSSSLOT", SPLIT, "the streams belong to several slots of a Redis Cluster") \
    X("TRYAGAIN", WAIT, "the stream's slot is being moved") \
    X("CLUSTERDOWN", WAIT, "the Redis Cluster is down: see `redis-cli --cluster check`") \
    X("OOM", FULL, "the server's memory is full: raise maxmemory") \
    X("MISCONF", FULL, "the server cannot save to its disk, and takes no writes") \
    X("NOPERM", RIGHTS, "the user lacks a right: change its ACL") \
    X("NOAUTH", LOGIN, "the server asks for a password") \
    X("WRONGPASS", LOGIN, "user or password is wrong") \
    X("ERR invalid password", LOGIN, "the password is wrong") \
    X("ERR AUTH", LOGIN, "the server has no password, or another kind of login") \
    X("NOGROUP", GROUP, "the stream or its consumer group is gone") \
    X("WRONGTYPE", GROUP, "something else than a stream is in its place") \
    X("ERR DB index", SETTING, \
      "there is no such database: numbers go from 0 to 15, or to one below the server's setting " \
      "`databases`") \
    X("ERR SELECT is not allowed", SETTING, "a cluster has database 0 only")
/* clang-format on */

enum redis_error_action redis_error_action(const char *text);

/* Explains the error in plain words; NULL: it is not in the table. */
const char *redis_error_meaning(const char *text);

/* Explains an error that only another URL mends; NULL: it is none. */
const char *redis_error_of_setting(const char *text);

#endif
